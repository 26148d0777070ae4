"""The workbench's parts that need no cluster: lists, keys, states, answers of functions."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labapps.workbench import api, kube, replica, rollout, runtime, state, swagger
from labapps.workbench.ask import Route
from labapps.workbench.database import Sqlite
from labapps.workbench.keys import Keys
from labapps.workbench.metrics import Metrics, Row
from labapps.workbench.page import Page
from labapps.workbench.refusal import Refusal
from labapps.workbench.store import Store
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "records.db")
    for number in range(25):
        owner = "ann" if number % 2 else "bob"
        record = {"id": f"j{number}", "name": f"n{number % 5}", "owner": {"username": owner}}
        made.add("job", "p", record)
    yield made
    made.close()


def test_pages_have_each_record_once(store: Store) -> None:
    seen, token = [], ""
    while True:
        found, token = store.page("job", "p", Page.of({"page_token": token}))
        seen += [record["id"] for record in found]
        if not token:
            break
        assert len(found) == 10
    assert seen == [f"j{number}" for number in range(25)]
    store.close()


def test_lists_are_filtered_by_dotted_keys_and_sorted(store: Store) -> None:
    query = {"search_filter": '{"owner.username":"ann"}', "sort": "-name", "page_size": "50"}
    found, token = store.page("job", "p", Page.of(query))
    assert token == ""
    assert [r["id"] for r in found][:3] == ["j19", "j9", "j23"]
    assert len(found) == 12
    store.close()


@pytest.mark.parametrize(
    "query",
    [
        {"search_filter": "{"},
        {"search_filter": "[]"},
        {"search_filter": '{"a\'b":"x"}'},
        {"search_filter": '{"digest":"x"}'},
        {"sort": "name') DESC --"},
        {"page_size": "0"},
        {"page_size": "-1"},
        {"page_size": "٣"},
        {"page_token": "nonsense"},
        {"page_token": "YXQ6LTE="},
    ],
)
def test_what_a_list_cannot_mean_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        Page.of(query)
    assert (caught.value.status, caught.value.body["code"]) == (400, 3)


def test_keys_are_kept_as_digests_and_end(tmp_path: Path) -> None:
    store = Store(tmp_path / "records.db")
    keys = Keys(store, frozenset({"own"}))
    assert keys.user("own").is_admin
    made = keys.create("ann", "", "")
    assert keys.user(made["api_key"]).name == "ann"
    old = keys.create("ann", "2001-01-01T00:00:00Z", "")
    with pytest.raises(Refusal, match="ended"):
        keys.user(old["api_key"])
    keys.delete(store.find("key", "ann")[0])
    for wrong in (made["api_key"], "", "own "):
        with pytest.raises(Refusal) as caught:
            keys.user(wrong)
        assert caught.value.body["code"] == 16
    store.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert made["api_key"].encode() not in written


def job(kind: str, reason: str = "", **spec: Any) -> dict[str, Any]:
    condition = {"type": kind, "status": "True", "reason": reason}
    return {"spec": spec, "status": {"conditions": [condition] if kind else []}}


def pod(phase: str, **spec: str) -> dict[str, Any]:
    return {"metadata": {}, "spec": spec, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("found", "pods", "stopping", "status"),
    [
        (job(""), [], False, "SCHEDULING"),
        (job(""), [pod("Pending", nodeName="n")], False, "STARTING"),
        (job(""), [pod("Running", nodeName="n")], False, "RUNNING"),
        (job("Complete"), [], True, "SUCCEEDED"),
        (job("Failed", "DeadlineExceeded"), [], False, "TIMEDOUT"),
        (job("Failed", "BackoffLimitExceeded"), [], False, "FAILED"),
        (job("Failed", "BackoffLimitExceeded"), [], True, "STOPPED"),
        (job("", suspend=True), [], True, "STOPPING"),
        (job("Suspended", suspend=True), [pod("Running")], True, "STOPPING"),
        (job("Suspended", suspend=True), [], True, "STOPPED"),
    ],
)
def test_the_state_of_a_run_follows_from_its_job(
    found: Any, pods: Any, stopping: bool, status: str
) -> None:
    assert state.job_status(found, pods, stopping=stopping) == f"ENGINE_{status}"


def test_a_replica_that_ends_again_and_again_says_why() -> None:
    terminated = {"exitCode": 1, "message": "Traceback\nImportError: no"}
    status = {"ready": False, "restartCount": 1, "lastState": {"terminated": terminated}}
    found = rollout.trouble([{"status": {"containerStatuses": [status]}}])
    assert found == "A replica does not load: ImportError: no"
    assert rollout.trouble([{"status": {}}]) == ""


def loop(_: Any) -> Any:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("function", "status", "words"),
    [
        (lambda r: r["missing"], 422, "KeyError"),
        (lambda r: 1 / 0, 500, "ZeroDivisionError"),
        (lambda r: float("inf"), 500, "not JSON"),
        (lambda r: {1: object()}, 500, "not JSON"),
        (lambda r: exit("bye"), 500, "SystemExit: bye"),
        (loop, 500, "not JSON"),
    ],
)
def test_what_a_function_does_is_answered_in_a_sentence(
    function: Any, status: int, words: str
) -> None:
    found = replica.ask(function, {})
    assert found.status == status
    assert words in found.body.decode()


def test_list_has_whole_pages_of_what_its_reader_may_see(tmp_path: Path) -> None:
    base = Store(tmp_path / "readers.db")
    for number in range(30):
        project = {
            "id": f"p{number:02}",
            "owner": {"username": "ann" if number % 5 == 0 else "bob"},
            "visibility": "public" if number == 1 else "private",
            "collaborators": {"ann": "read"} if number == 2 else {},
        }
        base.add("project", "", project)
        base.add("job", project["id"], {"id": f"j{number:02}", "project_id": project["id"]})
    for kind, parent, letter in (("project", "", "p"), ("job", None, "j")):
        first, token = base.page(kind, parent, Page(size=5), "ann")
        assert [one["id"] for one in first] == [f"{letter}{n:02}" for n in (0, 1, 2, 5, 10)]
        rest, end = base.page(kind, parent, Page.of({"page_token": token}), "ann")
        assert [one["id"] for one in rest] == [f"{letter}{n}" for n in (15, 20, 25)]
        assert end == ""
        assert len(base.page(kind, parent, Page(size=50))[0]) == 30
    base.close()


@pytest.mark.parametrize(
    "query",
    [{}, {"sort": "-created_at"}, {"search_filter": '{"status":"ENGINE_FAILED"}'}],
)
def test_long_history_is_read_by_its_index(store: Store, query: dict[str, str]) -> None:
    asked: list[str] = []
    assert isinstance(store.base, Sqlite)
    store.base.base.set_trace_callback(asked.append)
    store.page("run", "j", Page.of(query))
    store.find("run", parent_run_id="r")
    store.find("job", type="cron")
    store.base.base.set_trace_callback(None)
    assert len(asked) == 3
    for sql in asked:
        plan = [row[3] for row in store.base.rows(f"EXPLAIN QUERY PLAN {sql}")]
        assert not any("SCAN" in line or "TEMP B-TREE FOR ORDER BY" in line for line in plan[:1])
        assert all("SEARCH records" in line for line in plan[:1]), plan


def test_rows_of_many_callers_are_stored_once_and_read_in_windows(tmp_path: Path) -> None:
    async def work() -> None:
        metrics = Metrics(tmp_path / "metrics.db")
        rows = [Row(f"u{n}", "crn", n, n + 5, n % 10 != 0, {"n": n}) for n in range(100)]
        await asyncio.gather(*(metrics.add(row) for row in [*rows, rows[0]]))
        await metrics.merge("u7", {"truth": 1})
        seen: list[Any] = []
        token = 0
        while True:
            page = await metrics.read("crn", 5, 94, token, 40)
            seen += page["metrics"]
            if not page["next_page_token"]:
                break
            token = int(page["next_page_token"])
        assert [row["startTimeStampMs"] for row in seen] == list(range(5, 95))
        assert seen[2]["metrics"] == {"n": 7, "truth": 1}
        assert metrics.counts() == [("crn", 100, 10, 500)]
        with pytest.raises(Refusal, match="no call"):
            await metrics.merge("nowhere", {"truth": 1})
        metrics.close()

    asyncio.run(work())


def test_the_description_names_every_parameter_of_a_path() -> None:
    async def handler(ask: Any) -> None:
        return None

    path = "/projects/{project_id}/jobs/{job_id}:stop"
    document = swagger.document([Route("POST", path, "stop_job_run", "Stop", handler, ("cpu",))])
    operation = document["paths"][f"/api/v2{path}"]["post"]
    assert [p["name"] for p in operation["parameters"]] == ["body", "project_id", "job_id"]
    body = document["definitions"]["StopJobRunRequest"]["properties"]
    assert (body["cpu"], set(body)) == ({"type": "number"}, {"project_id", "job_id", "cpu"})


def test_a_name_in_a_path_does_not_take_the_verb() -> None:
    assert api.match("/runs/{run_id}", ["runs", "1:stop"]) is None
    assert api.match("/runs/{run_id}", ["runs", "1", "2"]) is None
    assert api.match("/files/{path}", ["files"]) == {"path": ""}


def test_runtimes_are_images_of_the_catalogue() -> None:
    images = {
        tomllib.loads(path.read_text())["name"] for path in (ROOT / "catalog").glob("*/image.toml")
    }
    assert {one["image_identifier"] for one in runtime.runtimes()} <= images


def write_kubeconfig(path: Path, cluster: dict[str, object]) -> Path:
    """Write the kubeconfig of somebody with a token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "c", "user": {"token": "x"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    path.write_text(json.dumps(config))
    return path


def test_a_kubeconfig_that_trusts_anybody_is_refused(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}
    path = write_kubeconfig(tmp_path / "config", cluster)
    with pytest.raises(SystemExit, match="certificate-authority"):
        kube.from_kubeconfig(path)


def test_token_of_a_kubeconfig_is_sent(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", {"server": "http://127.0.0.1:1"})
    assert kube.from_kubeconfig(path).authorization() == "Bearer x"
