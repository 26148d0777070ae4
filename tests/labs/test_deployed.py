"""Labs that run on the platform instead of in the learner's own kernel.

Lab core-03 orders a Spark cluster and builds the lakehouse there. Lab core-04 then runs, cell by
cell as its page does, in the notebook that lab core-02 deployed: its kernel reaches the training
cluster by the connection of its kdcluster. Nothing of this process's environment is in that pod;
the password is typed when a cell asks for it."""

from __future__ import annotations

import contextlib
import json
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from labrunner import sandbox
from labrunner.curriculum import load
from tests.labs.after import AFTER
from tests.labs.checkpoints import checkpoints
from tests.labs.kernel import CHECKPOINT, Result, desk
from tests.labs.platform import Platform
from tests.labs.test_hardship import ROWS, Environment, run_lab, surroundings
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(2400)]

CURRICULUM = load(ROOT)
CELL_SECONDS = 900.0


class RemoteDesk:
    """A kernel of another Jupyter server, and somebody who types the password when asked."""

    def __init__(self, socket: websocket.WebSocket, password: str) -> None:
        self.socket, self.password = socket, password
        self.session = uuid.uuid4().hex

    def run(self, code: str) -> Result:
        """Run a cell; return what it gave."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
        asked, result = self._send("execute_request", content, "shell"), Result()
        while True:
            message = json.loads(self.socket.recv())
            kind, found = message["msg_type"], message["content"]
            if kind == "input_request":
                assert found["password"], "the box hides what is typed"
                self._send("input_reply", {"value": self.password}, "stdin")
            if message["parent_header"].get("msg_id") != asked:
                continue
            if kind == "stream":
                result.text += found["text"]
            elif kind in ("display_data", "execute_result"):
                if CHECKPOINT in found["data"]:
                    result.records.append(found["data"][CHECKPOINT])
            elif kind == "error":
                result.error = "\n".join(found["traceback"])
            elif kind == "status" and found["execution_state"] == "idle":
                return result

    def _send(self, kind: str, content: dict[str, Any], channel: str) -> str:
        header = {
            **{"msg_id": uuid.uuid4().hex, "msg_type": kind, "version": "5.3"},
            **{"session": self.session, "username": "", "date": ""},
        }
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps({**message, "channel": channel}))
        return str(header["msg_id"])


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Environment]]:
    """Sign in on a platform and deploy a notebook."""
    folder = tmp_path_factory.mktemp("deployed")
    with sandbox.running(folder / "state") as found:
        environment = surroundings(folder / "home", found)
        run_lab("core/01", environment)
        with desk(CURRICULUM, CURRICULUM.get("core/02"), environment) as here:
            for cell in here.cells:
                here.do(cell)
                if cell.text.startswith("app:"):
                    here.do('memory = "3Gi"')  # as step 7 says, for the Spark of lab core-04
        yield Platform(folder / "state", found), environment


@contextlib.contextmanager
def signed_in(platform: Platform, address: str) -> Iterator[requests.Session]:
    """Sign in to the notebook with the learner's password."""
    with requests.Session() as http:
        http.verify, http.trust_env = platform.settings["EZMERAL_CA"], False
        http.get(f"{address}/login", timeout=60)
        form = {"_xsrf": http.cookies["_xsrf"], "password": password(platform)}
        http.post(f"{address}/login", data=form, timeout=60).raise_for_status()
        http.headers["X-XSRFToken"] = http.cookies["_xsrf"]
        yield http


def password(platform: Platform) -> str:
    return Path(platform.settings["EZMERAL_PASSWORD_FILE"]).read_text("utf-8").strip()


@contextlib.contextmanager
def desk_there(platform: Platform, http: requests.Session, address: str) -> Iterator[RemoteDesk]:
    """Start a kernel of the deployed notebook, in the folder of the cloned labs."""
    body = {"name": "python3", "path": f"labs-of-{platform.user}/04_train.ipynb"}
    answer = http.post(f"{address}/api/kernels", json=body, timeout=120)
    answer.raise_for_status()
    kernel = f"{address}/api/kernels/{answer.json()['id']}"
    socket = websocket.create_connection(
        kernel.replace("http", "ws", 1) + "/channels",
        timeout=CELL_SECONDS,
        cookie="; ".join(f"{one.name}={one.value}" for one in http.cookies),
        sslopt={"ca_certs": platform.settings["EZMERAL_CA"], "cert_reqs": ssl.CERT_REQUIRED},
        http_no_proxy=["*"],
    )
    with contextlib.closing(socket):
        yield RemoteDesk(socket, password(platform))
    http.delete(kernel, timeout=60)


def test_lab_03_builds_the_lakehouse_on_a_spark_cluster_of_the_learners(
    learner: tuple[Platform, Environment],
) -> None:
    platform, environment = learner
    with desk(CURRICULUM, CURRICULUM.get("core/03"), environment) as here:
        for cell in here.cells:
            result = here.do(cell, CELL_SECONDS)
            if cell.text.startswith("rows:"):
                here.do(f'rows, spark_cluster, finished = {ROWS}, "spark-mine", True')
            if "spark = spark_session(" in cell.text:
                assert "Spark runs on spark://" in result.text
                assert platform.kdclusters()["spark-mine"]["status"]["state"] == "configured"
    assert "spark-mine" not in platform.kdclusters(), "the clean-up removes it"
    AFTER["core/03"](platform)


def test_lab_04_runs_in_the_notebook_that_lab_02_deployed(
    learner: tuple[Platform, Environment],
) -> None:
    platform, environment = learner
    if not (platform.repository / "lakehouse" / platform.user / "trips.json").is_file():
        run_lab("core/03", environment)
    address, _ = platform.gateway(f"jupyter-notebook-{platform.user}", 8000)
    with signed_in(platform, address) as http:
        path = f"{address}/api/contents/labs-of-{platform.user}/04_train.ipynb"
        cells = http.get(path, timeout=60).json()["content"]["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        with desk_there(platform, http, address) as there:
            # A pod of the sandbox has a host name of its own in its environment only.
            where = there.run("import os; print(os.environ['HOSTNAME'], os.environ)").text
            assert where.startswith(f"jupyter-notebook-{platform.user}")
            assert platform.settings["KUBECONFIG"] not in where, "its own key, from the Secret"
            assert platform.settings["EZMERAL_PASSWORD_FILE"] not in where
            found: dict[str, bool] = {}
            for text in code:
                result = there.run(text)
                assert not result.error, f"{text}\n\n{result.text}\n{result.error}"
                found |= {record["name"]: record["ok"] for record in result.records}
    source = (ROOT / "notebooks" / "_src" / "core" / "04_train.py").read_text("utf-8")
    assert found == {one.name: True for one in checkpoints("core/04", source)}
    (card,) = (platform.repository / "models" / platform.user).glob("ride-duration-1.json")
    assert json.loads(card.read_text("utf-8"))["trained_by"] == platform.user
