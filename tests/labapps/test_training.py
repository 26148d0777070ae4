"""The training engine as its callers see it: one queue, workers that come and go."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labapps.queue import fair
from labapps.queue.job import Limits
from tests.labapps.pods import TOKEN, Cluster, Pod, call, eventually, running

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]
FAST = {"TRAINING_PRELOAD": "labapps.training.child"}
FINAL = {"Finished", "Failed", "Cancelled", "TimedOut"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("training")
    cluster = Cluster(folder, "training", {"LoadBalancer": 1, "RESTServer": 2}, **FAST)
    with running(cluster):
        cluster.settle()
        yield cluster


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """An engine that a test may break."""
    cluster = Cluster(tmp_path, "training", {"LoadBalancer": 1, "RESTServer": 2}, **FAST)
    with running(cluster):
        cluster.settle()
        yield cluster


def queue(cluster: Cluster) -> Pod:
    return cluster.pods["LoadBalancer"][0]


def url(cluster: Cluster, path: str, port: int = 10001) -> str:
    return f"http://{queue(cluster).ip}:{port}/{path}"


def submit(cluster: Cluster, code: str, **more: Any) -> int:
    status, body = call(url(cluster, "train", 32700), {"code": code} | more)
    assert status == 201, body
    return int(body["id"])


def job(cluster: Cluster, number: int) -> dict[str, Any]:
    status, body = call(url(cluster, f"history/{number}?auth=none"))
    assert status == 200
    found: dict[str, Any] = body[0]
    return found


def ended(cluster: Cluster, number: int, deadline: float = 60) -> dict[str, Any]:
    def look() -> Any:
        found = job(cluster, number)
        return found if found["status"] in FINAL else None

    found: dict[str, Any] = eventually(f"job {number} to end", look, deadline)
    return found


def running_job(cluster: Cluster, number: int) -> dict[str, Any]:
    def look() -> Any:
        found = job(cluster, number)
        return found if found["output"] else None

    found: dict[str, Any] = eventually(f"job {number} to print", look)
    return found


def logs(cluster: Cluster, number: int) -> str:
    return str(call(job(cluster, number)["log_url"] + "?auth=none")[1]["logs"])


SLEEPS = "import time\nprint('on', flush=True)\ntime.sleep(600)"


def test_job_runs_and_its_history_has_output_and_log(engine: Cluster) -> None:
    code = "import sys\nprint('R2 0.9')\nprint('a log line', file=sys.stderr)"
    status, body = call(url(engine, "train"), {"code": code, "name": "smoke", "user": "ann"})
    assert status == 201
    assert body["history_url"] == url(engine, f"history/{body['id']}")
    found = ended(engine, body["id"])
    assert (found["status"], found["output"], found["user"]) == ("Finished", "R2 0.9\n", "ann")
    assert logs(engine, body["id"]) == "a log line\n"


def test_record_keeps_the_program_its_arguments_and_who_asked(engine: Cluster) -> None:
    code = (
        "import json, os, sys\n"
        "names = ('JOB_RECORD', 'JOB_ID', 'JOB_USER', 'JOB_CODE_DIGEST')\n"
        "print(json.dumps({'args': sys.argv[1:], **{name: os.environ[name] for name in names}}))\n"
    )
    both = [submit(engine, code, args=["--depth", depth], user="ann") for depth in (2, 6)]
    digest = hashlib.sha256(code.encode()).hexdigest()
    for number, depth in zip(both, ("2", "6"), strict=True):
        found = ended(engine, number)
        told = json.loads(found["output"])
        assert told["args"] == found["args"] == ["--depth", depth]
        assert told["JOB_CODE_DIGEST"] == found["code_digest"] == digest
        assert (told["JOB_ID"], told["JOB_USER"]) == (str(number), "ann")
        folder = engine.repository / told["JOB_RECORD"]
        assert folder == Path(found["folder"])
        assert (folder / "code.py").read_text() == code
        assert json.loads((folder / "job.json").read_text())["code_digest"] == digest
        assert call(url(engine, f"history/{number}/code")) == (200, code)
    assert call(url(engine, f"history/{both[0]}/code?auth=none"), token=None)[0] == 401


def test_program_that_was_changed_while_it_waited_is_not_run(own: Cluster) -> None:
    for pod in own.pods["RESTServer"]:
        pod.stop(signal.SIGTERM)
    number = submit(own, "print('as submitted')")
    (Path(job(own, number)["folder"]) / "code.py").write_text("print('changed')")
    for pod in own.pods["RESTServer"]:
        pod.start()
    found = ended(own, number)
    assert found["status"] == "Failed"
    assert found["output"] == ""
    assert "Expected code.py as it was submitted" in logs(own, number)
    status, problem = call(url(own, f"history/{number}/code"))
    assert status == 410
    assert "was changed after it had been submitted" in problem["error"]


def test_job_writes_its_results_on_the_project_repository(engine: Cluster) -> None:
    code = (
        "import os\nopen('model.txt', 'w').write(os.environ['SEED'])\n"
        "open('/bd-fs-mnt/project_repo/shared.txt', 'w').write(os.environ['LAB_USER'])\n"
    )
    found = ended(engine, submit(engine, code, env={"SEED": 7}, user="bob"))
    assert found["status"] == "Finished", logs(engine, found["id"])
    assert (Path(found["folder"]) / "model.txt").read_text() == "7"
    assert (engine.repository / "shared.txt").read_text() == "bob"
    assert json.loads((Path(found["folder"]) / "job.json").read_text())["status"] == "Finished"


@pytest.mark.parametrize(
    ("code", "resources", "status", "reason", "log"),
    [
        ("1/0", {}, "Failed", "exit code 1", "ZeroDivisionError"),
        ("import sys; sys.exit('no data')", {}, "Failed", "exit code 1", "no data"),
        ("print('a", {}, "Failed", "exit code 1", "SyntaxError"),
        ("import os; os.kill(os.getpid(), 11)", {}, "Failed", "SIGSEGV", ""),
        ("while True: pass", {"seconds": 0.5}, "TimedOut", "limit of 0.5 s", ""),
        ("x = bytearray(64 << 30)", {}, "Failed", "exit code 1", "MemoryError"),
        (
            "import time\nx = [b'x' * (1 << 20) * 400]\ntime.sleep(60)",
            {"memory": "100Mi"},
            "Failed",
            "its limit is 100",
            "",
        ),
    ],
    ids=["raises", "exits", "syntax", "crashes", "too long", "too big", "too much memory"],
)
def test_job_that_goes_wrong_says_how(
    engine: Cluster, code: str, resources: dict[str, Any], status: str, reason: str, log: str
) -> None:
    found = ended(engine, submit(engine, code, resources=resources))
    assert found["status"] == status
    assert reason in found["reason"]
    assert log in logs(engine, found["id"])


def test_output_streams_while_the_job_runs(engine: Cluster) -> None:
    code = "import time\nfor n in range(3): print(n); time.sleep(.3)"
    number = submit(engine, code)
    address = url(engine, f"history/{number}/stream?auth=none")
    asked = urllib.request.Request(address, headers={"X-Auth-Token": TOKEN})
    with urllib.request.urlopen(asked, timeout=30) as reply:
        events = [json.loads(line) for line in reply]
    assert len([e for e in events if e.get("stream") == "stdout"]) >= 2
    assert "".join(e.get("text", "") for e in events) == "0\n1\n2\n"
    assert events[-1]["status"] == "Finished"


@pytest.mark.on_host
def test_running_job_is_cancelled_with_what_it_started(engine: Cluster) -> None:
    code = "import os, subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    code += "print(os.getpid(), flush=True)\nimport time; time.sleep(600)"
    number = submit(engine, code)
    pid = int(running_job(engine, number)["output"])
    (child,) = eventually("the child", lambda: psutil.Process(pid).children())
    assert call(url(engine, f"history/{number}"), method="DELETE")[0] == 200
    assert ended(engine, number)["status"] == "Cancelled"
    eventually("the child to end", lambda: not child.is_running() or child.status() == "zombie")


def test_waiting_job_is_cancelled_at_once(engine: Cluster) -> None:
    first = [submit(engine, SLEEPS, user="eve") for _ in range(5)]
    body = call(url(engine, f"history/{first[-1]}/cancel"), {})[1]
    assert body[0]["status"] == "Cancelled"
    for number in first:
        call(url(engine, f"history/{number}"), method="DELETE")
        ended(engine, number)


def test_one_learner_does_not_make_the_others_wait(engine: Cluster) -> None:
    greedy = [submit(engine, SLEEPS, user="greedy") for _ in range(8)]
    try:
        assert ended(engine, submit(engine, "print(1)", user="patient"))["status"] == "Finished"
        assert [job(engine, n)["status"] for n in greedy].count("Running") <= 3
    finally:
        for number in reversed(greedy):
            call(url(engine, f"history/{number}"), method="DELETE")
        for number in greedy:
            ended(engine, number)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({}, 422, "code"),
        ({"code": "1", "memory": 1}, 422, "Unknown keys"),
        ({"code": "1", "resources": {"memory": "much"}}, 422, "512Mi"),
        ({"code": "1", "resources": {"seconds": 1e9}}, 422, "seconds"),
        ({"code": "1", "resources": {"cpu": 0}}, 422, "cpu"),
        ({"code": "1", "rerun": "yes"}, 422, "rerun"),
        (b"nonsense", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        ({"code": "x" * (2 << 20)}, 413, "longer"),
    ],
)
def test_bad_submission_is_answered_with_what_was_expected(
    engine: Cluster, body: Any, status: int, word: str
) -> None:
    found, answer = call(url(engine, "train"), body)
    assert found == status
    assert word in answer["error"]
    assert answer["expected"]


def test_token_is_needed_to_submit_cancel_and_claim(engine: Cluster) -> None:
    for path, method in (("train", "POST"), ("history/1", "DELETE"), ("workers/x/poll", "POST")):
        status, body = call(url(engine, path), {}, token="f" * 32, method=method)
        assert (status, body["error"][:25]) == (401, "HTTP/1.1 401 Unauthorized")
    for path in ("history", "history/1", "history/1/logs", "history/1/stream"):
        assert call(url(engine, path), token=None)[0] == 401
        assert call(url(engine, f"{path}?auth=none"), token=None)[0] == 401


def test_page_shows_jobs_to_the_tenant_only(engine: Cluster) -> None:
    submit(engine, "print(1)", name="a job of ours")
    assert "a job of ours" in str(call(url(engine, ""))[1])
    assert "a job of ours" not in str(call(url(engine, ""), token=None)[1])


@pytest.mark.parametrize("number", ["%C2%B2", "9" * 5000, "-1", "1e3"])
def test_odd_job_numbers_are_not_found(engine: Cluster, number: str) -> None:
    assert call(url(engine, f"history/{number}"))[0] == 404
    assert call(url(engine, f"history?limit={number}"))[0] == 200


def test_unknown_job_is_answered_with_the_known_ones(engine: Cluster) -> None:
    status, body = call(url(engine, "history/99999?auth=none"))
    assert status == 404
    assert "1 to " in body["expected"]


def test_pages_and_metrics_are_there(engine: Cluster) -> None:
    assert "POST" in call(url(engine, "docs"), token=None)[1]
    assert "/train" in call(url(engine, "openapi.json"), token=None)[1]["paths"]
    assert "<table>" in call(url(engine, "", 8081), token=None)[1]
    assert 'training_jobs{status="Finished"}' in call(url(engine, "metrics"), token=None)[1]
    assert call(url(engine, "stats"))[1]["slots"] == 4


def test_two_hundred_waiting_jobs_survive_a_kill(own: Cluster) -> None:
    before = submit(own, SLEEPS, user="before")
    running_job(own, before)
    code = "import pathlib\npathlib.Path('ran').open('a').write('x')"
    numbers = [submit(own, code, user=f"user{n % 30}") for n in range(200)]
    queue(own).stop(signal.SIGKILL)
    queue(own).start()
    eventually("the queue to be back", lambda: call(url(own, "health"), token=None)[0] == 200)
    for number in numbers:
        assert ended(own, number, 120)["status"] == "Finished"
        assert (Path(job(own, number)["folder"]) / "ran").read_text() == "x"
    assert job(own, before)["status"] == "Running"  # its worker never noticed


def test_history_survives_the_loss_of_the_queues_disk(own: Cluster) -> None:
    done = ended(own, submit(own, "print(1)"))["id"]
    keeps = submit(own, SLEEPS)
    running_job(own, keeps)
    queue(own).stop(signal.SIGKILL)
    shutil.rmtree(queue(own).root / "var")
    queue(own).start()
    eventually("the queue to be back", lambda: call(url(own, "health"), token=None)[0] == 200)
    assert job(own, done)["output"] == "1\n"
    assert job(own, keeps)["status"] == "Running"
    assert submit(own, "print(2)") > keeps
    call(url(own, f"history/{keeps}"), method="DELETE")
    assert ended(own, keeps)["status"] == "Cancelled"


def test_killed_worker_fails_its_job_and_reruns_the_one_that_asked(own: Cluster) -> None:
    own.pods["RESTServer"][1].stop(signal.SIGTERM)
    eventually("one worker to be left", lambda: call(url(own, "stats"))[1]["slots"] == 2)
    fails = submit(own, SLEEPS, user="ann")
    code = "import os, time\nprint(os.getpid(), flush=True)\n" + SLEEPS
    again = submit(own, code, user="bob", rerun=True)
    first = running_job(own, again)["output"]
    running_job(own, fails)
    own.pods["RESTServer"][0].stop(signal.SIGKILL)
    found = ended(own, fails)
    assert found["status"] == "Failed"
    assert "Worker" in found["reason"]
    assert job(own, again)["status"] == "Queued"
    own.pods["RESTServer"][1].start()
    eventually("the second attempt", lambda: job(own, again)["output"] not in ("", first))
    assert job(own, again)["attempts"] == 2


def test_worker_that_is_stopped_gives_its_job_back(own: Cluster) -> None:
    number = submit(own, SLEEPS, rerun=True)
    host = running_job(own, number)["worker"]
    (pod,) = [p for p in own.pods["RESTServer"] if p.ip == host]
    pod.stop(signal.SIGTERM)
    eventually("another worker to take it", lambda: job(own, number)["worker"] not in ("", host))


@pytest.mark.fast
def test_fair_choice_prefers_who_runs_least_then_who_waited_longest() -> None:
    queued = [(1, "ann"), (2, "ann"), (3, "bob"), (4, "cat")]
    assert fair.choose(queued, ["ann"], {"bob": 5, "cat": 2}, 2) == 4
    assert fair.choose(queued, ["bob", "cat"], {}, 1) == 1
    assert fair.choose(queued[:2], ["ann", "ann"], {}, 2) is None


@pytest.mark.fast
def test_limits_are_read_from_the_environment() -> None:
    limits = Limits.from_env(
        "TRAINING_", {"TRAINING_MAX_MEMORY": "1Gi", "TRAINING_USER_QUEUED": "7"}
    )
    assert (limits.memory, limits.user_queued) == (1 << 30, 7)
