"""The servers of the serving benchmark: how each is prepared, started, asked and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from labregress.runner import free_port

__all__ = [
    "TOKEN", "Server", "ask", "engine", "ensure_peers", "free_port", "mlflow", "mlserver",
    "mlserver_of_mlflow", "prepare",
]  # fmt: skip

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build" / "bench-env"
REQUIREMENTS = Path(__file__).with_name("serving-requirements.txt")
TOKEN = "0" * 32
HOST = "127.0.0.1"


@dataclass
class Server:
    """A running server and the request it understands."""

    name: str
    process: subprocess.Popen[bytes]
    host: str
    port: int
    path: str
    headers: dict[str, str]
    cold: float = 0.0
    cpu: float = 0.0

    def body(self, rows: dict[str, Any], count: int) -> bytes:
        """Word a request for `count` rows."""
        data = rows["data"][:count]
        if self.name == "mlserver":
            flat = {"name": "predict", "shape": [count, len(data[0])], "datatype": "FP64"}
            return json.dumps({"inputs": [flat | {"data": data}]}).encode()
        return json.dumps({"dataframe_split": {"columns": rows["columns"], "data": data}}).encode()

    def wait_idle(self, deadline: float = 30.0) -> None:
        """Return when the server's processes have used no CPU for half a second."""
        end, before = time.perf_counter() + deadline, -1.0
        while time.perf_counter() < end:
            top = psutil.Process(self.process.pid)
            spent = 0.0
            for process in [top, *top.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    spent += sum(process.cpu_times()[:2])
            if spent - before < 0.02:
                return
            before = spent
            time.sleep(0.5)

    def memory(self) -> float:
        """Return MB the server and its children hold, shared pages counted once (PSS)."""
        total = 0
        top = psutil.Process(self.process.pid)
        for process in [top, *top.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / 1e6


def ensure_peers() -> Path:
    """Make the peers' environment unless it is there; return its Python."""
    python = PEERS / "bin" / "python"
    stamp = PEERS / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        print("Installing the peers into build/bench-env (once) …", flush=True)
        venv.create(PEERS, with_pip=True, clear=True)
        installer = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*installer, "-r", str(REQUIREMENTS)], check=True)
        shutil.copyfile(REQUIREMENTS, stamp)
    return python


def prepare(folder: Path) -> dict[str, Any]:
    """Train the models and convert them; return 100 rows as columns and data."""
    python = ensure_peers()
    script = Path(__file__).with_name("train_models.py")
    # -P: beside the script lies a module `http`, which is not the one of the standard library.
    subprocess.run([str(python), "-P", "-W", "ignore", str(script), str(folder)], check=True)
    repository = folder / "repository"
    import skops.io
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    rows: dict[str, Any] = json.loads((folder / "rows.json").read_text())
    boosting = pickle.loads((folder / "hgb.pkl").read_bytes())
    skops.io.dump(boosting, repository / "hgb.skops")
    forest = pickle.loads((folder / "rf.pkl").read_bytes())
    width = len(rows["columns"])
    onnx = to_onnx(forest, initial_types=[("rows", FloatTensorType([None, width]))])
    entry = onnx.metadata_props.add()
    entry.key, entry.value = "feature_names", json.dumps(rows["columns"])
    (repository / "rf.onnx").write_bytes(onnx.SerializeToString())
    return rows


def ask(server: Server, body: bytes, timeout: float = 30.0) -> bytes:
    """Ask once."""
    url = f"http://{server.host}:{server.port}{server.path}"
    headers = {"Content-Type": "application/json"} | server.headers
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=timeout) as r:
        answer: bytes = r.read()
    return answer


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    env: dict[str, str],
    folder: Path,
    rows: dict[str, Any],
    *,
    port: int,
    path: str,
    headers: dict[str, str] | None = None,
    host: str = HOST,
) -> Iterator[Server]:
    """Start a server; yield it when it has answered a prediction; end it with its children."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MLFLOW", "POD_"))}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    began = time.perf_counter()
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=clean | threads | env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Server(name, process, host, port, path, headers or {})
    try:
        while True:
            try:
                ask(server, server.body(rows, 1))
                break
            except (OSError, urllib.error.URLError) as error:
                if process.poll() is not None or time.perf_counter() - began > 600:
                    tail = (folder / f"{name}.log").read_text()[-2000:]
                    raise RuntimeError(f"{name} does not answer: {error}\n{tail}") from error
                time.sleep(0.02)
        server.cold = time.perf_counter() - began
        yield server
    finally:
        children = (
            psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        )
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()


def mlflow(folder: Path, model: str, rows: dict[str, Any]) -> Any:
    """`mlflow models serve` as its documentation shows it."""
    port = free_port()
    command = [
        str(PEERS / "bin" / "mlflow"),
        "models",
        "serve",
        "-m",
        str(folder / f"mlflow-{model}"),
    ]
    command += ["--env-manager", "local", "-p", str(port), "-h", HOST]
    path = f"{PEERS / 'bin'}:{os.environ['PATH']}"
    env = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
    return running("mlflow", command, env, folder, rows, port=port, path="/invocations")


def mlserver(folder: Path, model: str, rows: dict[str, Any]) -> Any:
    """MLServer in one process (its fastest form here)."""
    place, path = folder / f"mlserver-{model}", f"/v2/models/{model}/infer"
    return start_mlserver("mlserver", place, folder, rows, path)


def mlserver_of_mlflow(model: Path, folder: Path, rows: dict[str, Any]) -> Any:
    """MLServer with its runtime for MLflow's models, asked as MLflow's own scorer is."""
    place = folder / "mlserver"
    place.mkdir()
    settings = {"name": "model", "implementation": "mlserver_mlflow.MLflowRuntime"}
    document = settings | {"parameters": {"uri": str(model)}}
    (place / "model-settings.json").write_text(json.dumps(document))
    return start_mlserver("MLServer", place, folder, rows, "/invocations")


def plain(folder: Path, model: str, rows: dict[str, Any]) -> Any:
    """Start the model behind a bare ASGI application, in one process."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.plain", HOST, str(port), f"{folder}/{model}.pkl"]
    env = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    return running("plain", command, env, folder, rows, port=port, path="/")


def start_mlserver(name: str, place: Path, folder: Path, rows: dict[str, Any], path: str) -> Any:
    """Start MLServer without workers of its own."""
    port = free_port()
    env = {
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(free_port()),
        "MLSERVER_METRICS_PORT": str(free_port()),
        "MLSERVER_HOST": HOST,
        "MLSERVER_PARALLEL_WORKERS": "0",
        "MLSERVER_DEBUG": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [str(PEERS / "bin" / "mlserver"), "start", str(place)]
    return running(name, command, env, folder, rows, port=port, path=path)


def configmeta(host: str, models: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return what the operator would write for one RESTServer."""
    role = {"services": {"gunicorn": {"authToken": TOKEN}}, "fqdns": [host], "node_ids": ["1"]}
    maps = [
        {"metadata": {"name": name}, "data": {"name": name, "model-version": "1"} | data}
        for name, data in models.items()
    ]
    return {
        "node": {"role_id": "RESTServer", "fqdn": host},
        "cluster": {"name": "bench"},
        "nodegroups": {"1": {"roles": {"RESTServer": role}}},
        "connections": {"configmaps": {"model": maps}},
    }


def write_configmeta(root: Path, document: dict[str, Any]) -> None:
    """Replace the pod's configmeta.json."""
    path = root / "etc/guestconfig/configmeta.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(document))
    path.with_suffix(".new").replace(path)


def engine(folder: Path, model: str, rows: dict[str, Any], **settings: str) -> Any:
    """Our deployment engine: one RESTServer, as KubeDirector starts it."""
    host = "127.77.0.1"
    root = folder / "pod"
    shutil.rmtree(root, ignore_errors=True)
    file = {"hgb": "hgb.skops", "rf": "rf.onnx", "xgb": "xgb.ubj"}[model]
    write_configmeta(root, configmeta(host, {model: {"path": f"repo://project_repo/{file}"}}))
    env = {
        "POD_ROOT": str(root),
        "POD_LISTEN_IP": host,
        "PROJECT_REPO": str(folder / "repository"),
        "PYTHONPATH": str(ROOT),
    }
    return running(
        "engine",
        [sys.executable, "-m", "labapps.deployment"],
        env | settings,
        folder,
        rows,
        host=host,
        port=10001,
        path=f"/{model}/1/invocations",
        headers={"X-Auth-Token": TOKEN},
    )
