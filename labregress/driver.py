"""One case at one version, step by step; it runs inside the environment of that version.

It imports nothing of ours: the environment holds MLflow and what the case needs, nothing else.
Each step prints a line of JSON, so what was reached is known however the process ends. When
standard input closes (the runner is gone), the whole process group ends.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TASK: dict[str, Any] = json.loads(sys.argv[1]) if __name__ == "__main__" else {}
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
OUT = sys.stdout


def tell(**row: object) -> None:
    OUT.write(json.dumps(row) + "\n")
    OUT.flush()


@contextmanager
def step(name: str) -> Iterator[None]:
    began, cpu = time.monotonic(), time.process_time()
    try:
        yield
    except BaseException as error:
        text = str(error).strip().splitlines() or [""]
        tell(step=name, ok=False, error=f"{type(error).__name__}: {text[0]}"[:300])
        raise SystemExit(1) from error
    seconds = round(time.monotonic() - began, 2)
    tell(step=name, ok=True, seconds=seconds, cpu=round(time.process_time() - cpu, 2))


def watch_the_runner() -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock the interpreter's end waits for
        pass
    os.killpg(0, signal.SIGKILL)


def request(body: bytes, kind: str) -> tuple[int, bytes]:
    url = f"http://127.0.0.1:{TASK['port']}/invocations"
    asked = urllib.request.Request(url, body, {"Content-Type": kind}, method="POST")
    try:
        with OPENER.open(asked, timeout=60) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def bodies(rows: Any) -> dict[str, tuple[object, str]]:
    table = {"columns": list(rows.columns), "data": rows.values.tolist()}
    as_json = "application/json"
    return {
        "split-1x": (table, f"{as_json}; format=pandas-split"),
        "dataframe_split": ({"dataframe_split": table}, as_json),
        "portable": ({"inputs": rows.to_dict("list")}, as_json),
    }


def ask(protocol: str, rows: Any, expected: list[float]) -> None:
    body, kind = bodies(rows)[protocol]
    status, text = request(json.dumps(body).encode(), kind)
    found: dict[str, Any] = {"protocol": protocol, "status": status}
    if status == 200:
        answer = json.loads(text)
        numbers = answer["predictions"] if isinstance(answer, dict) else answer
        same = len(numbers) == len(expected)
        same = same and all(abs(a - b) < 1e-5 for a, b in zip(numbers, expected, strict=True))
        tell(equal=same, shape="object" if isinstance(answer, dict) else "list", **found)
    else:
        tell(says=text.decode(errors="replace")[:120], **found)


def is_up(server: "subprocess.Popen[bytes]") -> bool:
    if server.poll() is not None:
        log = Path("serve.log").read_text(errors="replace").strip().splitlines()
        named = [line for line in log if "Error" in line]
        raise RuntimeError((named or log or ["it said nothing"])[-1])
    try:
        with OPENER.open(f"http://127.0.0.1:{TASK['port']}/ping", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def serve() -> None:
    program = "from mlflow.cli import cli; cli()"  # releases before 2.0 have no `-m mlflow`
    where = ["-m", "models:/regress/1", "-h", "127.0.0.1", "-p", str(TASK["port"])]
    command = [sys.executable, "-c", program, "models", "serve", "--env-manager", "local", *where]
    with open("serve.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    end = time.monotonic() + TASK["patience"]
    while not is_up(server):
        if time.monotonic() > end:
            raise TimeoutError(f"the scorer did not answer within {TASK['patience']} s")
        time.sleep(0.3)


def main() -> None:
    threading.Thread(target=watch_the_runner, daemon=True).start()
    sys.stdout = sys.stderr  # what libraries print does not mix with the rows
    with step("import"):
        import mlflow

        if mlflow.__version__ != TASK["mlflow"]:
            raise ImportError(f"mlflow {mlflow.__version__} is installed, not {TASK['mlflow']}")
        import mlflow.pyfunc
        import mlflow.sklearn
        import mlflow.xgboost
        from mlflow.models.signature import infer_signature
    with step("train"):
        spec = importlib.util.spec_from_file_location("train", TASK["train"])
        case: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(case)  # type: ignore[union-attr]
        model, rows = case.train(), case.frame()[:5]
        expected = [float(number) for number in model.predict(rows)]
    with step("log"):
        os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"  # the scorer reads it, too
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
        mlflow.set_experiment("regress")
        with mlflow.start_run() as run:
            case.log(mlflow, model, infer_signature(rows, model.predict(rows)))
    with step("register"):
        mlflow.register_model(f"runs:/{run.info.run_id}/model", "regress")
    with step("load"):
        loaded = mlflow.pyfunc.load_model("models:/regress/1").predict(rows)
        if max(abs(float(a) - b) for a, b in zip(loaded, expected, strict=True)) > 1e-5:
            raise ValueError("the loaded model predicts other numbers")
    with step("serve"):
        serve()
    for protocol in TASK["protocols"]:
        ask(protocol, rows, expected)


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except Exception:  # the log's last line is what the report shows
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)  # the scorer's threads and ours do not hold it up
