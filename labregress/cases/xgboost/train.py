"""Income: boosted trees on made-up people, the same model at each version of MLflow."""

import numpy as np
import pandas as pd
import xgboost

COLUMNS = ["age", "education_num", "hours_per_week"]


def frame(rows=400):
    chance = np.random.default_rng(7)
    values = chance.normal([38.6, 10.1, 40.4], [13.6, 2.6, 12.3], (rows, 3))
    return pd.DataFrame(values, columns=COLUMNS)


def train():
    people = frame()
    score = people @ np.array([0.03, 0.35, 0.03])
    return xgboost.XGBRegressor(n_estimators=30, max_depth=3, n_jobs=1).fit(people, score)


def log(mlflow, model, signature):
    mlflow.xgboost.log_model(model, "model", signature=signature, pip_requirements=["xgboost-cpu"])
