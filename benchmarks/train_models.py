"""Train the models that all servers of the serving benchmark serve. Runs in the peers' environment.

train_models.py FOLDER
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from xgboost import XGBRegressor

FEATURES = [f"feature_{number}" for number in range(14)]  # as many as the taxi model has


def main() -> None:
    folder = Path(sys.argv[1])
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(20_000, len(FEATURES))), columns=FEATURES)
    target = table.feature_0 * 2 + table.feature_1 * table.feature_2 + random.normal(size=20_000)
    models = {
        "hgb": HistGradientBoostingRegressor(max_iter=100, random_state=0),
        "rf": RandomForestRegressor(n_estimators=100, max_depth=12, random_state=0, n_jobs=2),
    }
    for name, model in models.items():
        model.fit(table, target)
        if name == "rf":
            model.n_jobs = 1
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(model))
        requirements = ["scikit-learn", "pandas"]
        mlflow.sklearn.save_model(
            model,
            str(folder / f"mlflow-{name}"),
            pip_requirements=requirements,
            serialization_format="cloudpickle",
        )
        server = folder / f"mlserver-{name}"
        server.mkdir()
        (server / "model-settings.json").write_text(
            json.dumps(
                {
                    "name": name,
                    "implementation": "mlserver_sklearn.SKLearnModel",
                    "parameters": {"uri": str(folder / f"{name}.joblib"), "version": "1"},
                }
            )
        )
        import joblib

        joblib.dump(model, folder / f"{name}.joblib")
    boosted = XGBRegressor(n_estimators=100, max_depth=6, random_state=0, n_jobs=2)
    boosted.fit(table, target)
    boosted.set_params(n_jobs=1)
    repository = folder / "repository"
    repository.mkdir()
    boosted.save_model(repository / "xgb.ubj")
    mlflow.xgboost.save_model(
        boosted, str(folder / "mlflow-xgb"), pip_requirements=["xgboost-cpu", "pandas"]
    )
    table.head(100).to_json(folder / "rows.json", orient="split", index=False)


if __name__ == "__main__":
    main()
