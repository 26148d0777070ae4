"""Wine: an ElasticNet on made-up grades, the same model at each version of MLflow."""

import numpy as np
import pandas as pd
from sklearn.linear_model import ElasticNet

COLUMNS = ["alcohol", "pH", "sulphates"]


def frame(rows=200):
    chance = np.random.default_rng(7)
    values = chance.normal([10.4, 3.3, 0.65], [1.0, 0.15, 0.17], (rows, 3))
    return pd.DataFrame(values, columns=COLUMNS)


def train():
    wine = frame()
    grade = 5.6 + 0.3 * (wine["alcohol"] - 10.4) + 0.9 * (wine["sulphates"] - 0.65)
    return ElasticNet(alpha=0.1, l1_ratio=0.1).fit(wine, grade)


def log(mlflow, model, signature):
    mlflow.sklearn.log_model(model, "model", signature=signature, pip_requirements=["scikit-learn"])
