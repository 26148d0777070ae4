"""Register a network of Keras as version 1 of the model houses, and print its predictions.

<python of the environment tensorflow> tests/labapps/keras_model.py <rows as JSON>

Its signature is a tensor without names: the requests of its guides call each column `features`.
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras  # type: ignore[import-not-found]
import mlflow
import numpy as np
from mlflow.models import infer_signature

rows = np.array(json.loads(sys.argv[1]), dtype="float32")
keras.utils.set_random_seed(7)
table = np.random.default_rng(7).random((200, rows.shape[1])).astype("float32")
layers = [keras.Input((rows.shape[1],)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)]
model = keras.Sequential(layers)
model.compile("adam", "mse")
model.fit(table, table.sum(axis=1), epochs=1, verbose=0)
expected = model.predict(rows, verbose=0)
mlflow.set_experiment("houses")
with mlflow.start_run():
    mlflow.tensorflow.log_model(
        model,
        name="model",
        registered_model_name="houses",
        signature=infer_signature(rows, expected),
        pip_requirements=["tensorflow-cpu"],
    )
print(json.dumps(expected.ravel().tolist()))
