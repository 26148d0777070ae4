"""Register models of every kind on a tracking server, and print what pyfunc predicts with them.

    python -m tests.labapps.registry <file of the canary> <rows as JSON>

A program of its own: importing MLflow takes seconds, and a hostile model is among them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import mlflow
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import ElasticNet
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

NAMES = ["acid", "sugar", "alcohol"]
PARAMETERS = {
    "sklearn": "sk_model",
    "xgboost": "xgb_model",
    "onnx": "onnx_model",
    "pyfunc": "python_model",
}
SKOPS = {"serialization_format": "skops"}


class Canary:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (sys.argv[1], "w")


class Own(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A model that is code."""

    def predict(self, context: Any, model_input: pd.DataFrame) -> Any:
        return model_input["acid"]


def train() -> dict[str, tuple[str, Any, dict[str, Any]]]:
    """Return a name for each version: the flavour, the model, and options of log_model."""
    random = np.random.default_rng(7)
    table = pd.DataFrame(random.random((200, 3)), columns=NAMES)
    grade = table.acid * 2 + table.alcohol
    bad = ElasticNet().fit(table, grade)
    bad.canary = Canary()
    boosting = HistGradientBoostingRegressor(max_iter=5, random_state=7).fit(table, grade)
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["acid"]))
    types = ["sklearn.compose._column_transformer._RemainderColsList"]
    trusted = SKOPS | {"skops_trusted_types": mlflow_types(boosting)}
    return {
        "linear": ("sklearn", ElasticNet(alpha=0.01).fit(table, grade), SKOPS),
        "boosting": ("sklearn", boosting, trusted),
        "columns": (
            "sklearn",
            make_pipeline(columns, ElasticNet(alpha=0.01)).fit(table.round(), grade),
            SKOPS | {"skops_trusted_types": types},
        ),
        "xgboost": ("xgboost", xgboost.XGBRegressor(n_estimators=5).fit(table, grade), {}),
        "booster": (
            "xgboost",
            xgboost.train({}, xgboost.DMatrix(table, grade), 5),
            {"model_format": "json"},
        ),
        "classes": (
            "xgboost",
            xgboost.XGBClassifier(n_estimators=5).fit(table, grade > grade.mean()),
            {},
        ),
        "onnx": (
            "onnx",
            to_onnx(ElasticNet(alpha=0.01).fit(table, grade), table.to_numpy()[:1]),
            {},
        ),
        "pickled": ("sklearn", bad, {"serialization_format": "cloudpickle"}),
        "code": ("pyfunc", Own(), {}),
    }


def mlflow_types(model: Any) -> list[str]:
    """Return the types that MLflow wants to be named before it saves a model with skops."""
    import skops.io

    return list(skops.io.get_untrusted_types(data=skops.io.dumps(model)))


def main() -> None:
    """Register each as a version of the model wine, in this order; predict the rows given."""
    frame = pd.DataFrame(json.loads(sys.argv[2]), columns=NAMES)
    signature = infer_signature(frame, pd.DataFrame({"grade": [1.0]}))
    mlflow.set_experiment("registered")
    answers: dict[str, Any] = {}
    for name, (flavor, model, options) in train().items():
        with mlflow.start_run():
            info = getattr(mlflow, flavor).log_model(
                **{PARAMETERS[flavor]: model},
                name="model",
                signature=signature,
                pip_requirements=["mlflow"],
                registered_model_name="wine",
                **options,
            )
        answers[name] = None
        if name not in ("pickled", "code"):
            found = mlflow.pyfunc.load_model(info.model_uri).predict(frame)
            answers[name] = np.asarray(found).ravel().tolist()
    print(json.dumps(answers))


if __name__ == "__main__":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    main()
