"""Small models and scripts for the tests of the deployment engine."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd

FEATURES = ["distance", "hour", "work", "month"]
ROW = {"distance": 1.5, "hour": 9, "work": True, "month": 2.0}

SCRIPTS = {
    "score.py": """
import json, pickle, sys
import pandas as pd
with open("/bd-fs-mnt/TenantShare/repo/hgb.pkl", "rb") as file:
    model = pickle.load(file)
print("a warning line", file=sys.stderr)
row = pd.DataFrame([json.loads(sys.argv[1])])
print("The ride duration prediction is", model.predict(row)[0], "seconds.")
""",
    "exits.py": "import sys\nprint('before')\nsys.exit(3)\n",
    "dies.py": "import os\nos.kill(os.getpid(), 9)\n",
    "hangs.py": "print('before', flush=True)\nwhile True: pass\n",
    "binary.py": "import sys\nsys.stdout.buffer.write(bytes([255, 0, 254]))\n",
    "floods.py": "while True: print('x' * 1000000)\n",
    "leaks.py": """
import os, sys, builtins
import json
print(getattr(builtins, "leak", 0), "LEAK" in os.environ, getattr(json, "leak", 0))
builtins.leak = json.leak = 1
os.environ["LEAK"] = "1"
os.chdir("/")
sys.stdout = None
""",
    "ends_well.py": "import atexit, sys\natexit.register(print, 'bye')\nprint('hi')\nsys.exit()\n",
    "functions.py": """
import pickle
import pandas as pd

def load(path):
    with open(path, "rb") as file:
        return pickle.load(file)

def predict(model, rows):
    if any(row.get("hour") == 666 for row in rows):
        raise ValueError("no such hour")
    if any(row.get("hour") == 777 for row in rows):
        import os
        os._exit(7)
    if any(row.get("hour") == 888 for row in rows):
        while True:
            pass
    return model.predict(pd.DataFrame(rows)[["distance", "hour", "work", "month"]])
""",
    "slow.py": "import time\ntime.sleep(1.5)\nprint('slow')\n",
    "syntax.py": "def predict(:\n",
    "raises.py": "def load(path): raise RuntimeError('no luck')\ndef predict(m, r): return r\n",
}


def train(folder: Path) -> None:
    """Write one model of each format, and the scripts."""
    import skops.io
    import xgboost
    from skl2onnx import to_onnx
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(400, 4)), columns=FEATURES)
    target = table.distance * 2 + table.hour
    boosting = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(table, target)
    skops.io.dump(boosting, folder / "hgb.skops")
    (folder / "hgb.pkl").write_bytes(pickle.dumps(boosting))
    forest = RandomForestRegressor(n_estimators=10, random_state=0).fit(table, target)
    skops.io.dump(forest, folder / "rf.skops")
    matrix = table.to_numpy(np.float32)
    onnx = to_onnx(RandomForestRegressor(n_estimators=5).fit(matrix, target), matrix[:1])
    entry = onnx.metadata_props.add()
    entry.key, entry.value = "feature_names", json.dumps(FEATURES)
    (folder / "rf.onnx").write_bytes(onnx.SerializeToString())
    booster = xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(table, target)
    booster.get_booster().save_model(folder / "xgb.json")
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text)
