"""Models that need another environment than the engine's: MLflow's pyfunc, in its own process.

`MODEL_ENVIRONMENTS` names the interpreters that this image has beside its own
(`h2o=/opt/environments/h2o/bin/python`), and a ConfigMap's key `environment` chooses one. The
worker of such a model starts `pyfunc.py` there and passes rows on. Both are in one process group,
so that whoever ends the worker ends the model with all that it started.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from labapps.deployment.pyfunc import SIZE, read

__all__ = ["Foreign", "ForeignError", "interpreter"]

VARIABLE = "MODEL_ENVIRONMENTS"
PROGRAM = Path(__file__).with_name("pyfunc.py")


class ForeignError(ValueError):
    """A model cannot be loaded in the environment that its ConfigMap names."""


def interpreter(name: str, env: Mapping[str, str] = os.environ) -> str:
    """Return the Python of an environment; ForeignError lists those that there are.

    >>> interpreter("h2o", {"MODEL_ENVIRONMENTS": "h2o=/a/python tensorflow=/b/python"})
    '/a/python'
    """
    known = dict(word.split("=", 1) for word in env.get(VARIABLE, "").split() if "=" in word)
    if name not in known:
        raise ForeignError(
            f"key environment: expected one of this engine's environments, "
            f"{', '.join(sorted(known)) or 'of which it has none'}; found {name!r}. Order the "
            f"application deployment-engine-{name}, whose image has that environment."
        )
    return known[name]


class Foreign:
    """A model in a process of another environment."""

    def __init__(self, python: str, folder: str) -> None:
        hidden = ("PYTHON", "LD_", "OMP_", "OPENBLAS_")
        env = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            [python, "-I", str(PROGRAM), folder],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        about = self._receive()
        if about is None:
            code = self.process.wait()
            raise ForeignError(f"its process ended with {code} before the model was loaded")
        if not about["ok"]:
            raise ForeignError(str(about["error"]))
        self.features = tuple(str(name) for name in about["features"])
        self.width: int | None = about["width"]

    def predict(self, table: Any) -> list[Any]:
        """Return what the model predicts for a matrix or a data frame."""
        if hasattr(table, "columns"):
            columns = [str(name) for name in table.columns]
            data = table.astype(object).where(table.notna(), None).to_numpy().tolist()
            document: dict[str, Any] = {"dataframe_split": {"columns": columns, "data": data}}
        else:
            document = {"inputs": table.tolist()}
        body = orjson.dumps(document)
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(SIZE.pack(len(body)) + body)
            self.process.stdin.flush()
            reply = self._receive()
        except BrokenPipeError:
            reply = None
        if reply is None:  # the server starts a new worker, which loads the model again
            print("the process of the model is gone; its worker ends", file=sys.stderr, flush=True)
            os._exit(1)
        if reply["status"] == 200:
            return list(orjson.loads(reply["body"])["predictions"])
        words = str(reply["body"])
        raise ValueError(words) if reply["status"] in (400, 415, 422) else RuntimeError(words)

    def _receive(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        body = read(self.process.stdout)  # type: ignore[arg-type]
        return None if body is None else dict(orjson.loads(body))
