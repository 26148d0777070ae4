"""The workbench's records and metrics in PostgreSQL: the same answers as from a file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from labapps.workbench import database
from labapps.workbench.database import DatabaseGone, Postgres, connect
from labapps.workbench.metrics import Metrics, Row
from labapps.workbench.page import Page
from labapps.workbench.refusal import Refusal
from labapps.workbench.store import Store
from tests.labapps import postgres
from tests.labapps.workbench import Workbench

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]
Json = Any

QUERIES: list[dict[str, str]] = [
    {},
    {"sort": "-name"},
    {"sort": "cpu,-name"},
    {"sort": "-missing"},
    {"sort": "note"},
    {"search_filter": '{"owner.username":"ann"}', "sort": "+cpu"},
    {"search_filter": '{"paused":true}'},
    {"search_filter": '{"paused":false,"cpu":0.5}'},
    {"search_filter": '{"cpu":2}'},
    {"search_filter": '{"missing.deep":"x"}'},
]


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    with postgres.Postgres() as started:
        yield started


@pytest.fixture
def url(server: postgres.Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database; its password is where libpq looks for one."""
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    with psycopg.connect(server.url) as base:
        base.execute("DROP TABLE IF EXISTS records, calls, aggregates")
    return server.url


def fill(store: Store) -> Store:
    for number in range(60):
        record: Json = {
            "id": f"j{number}",
            "name": f"n{number % 7}",
            "owner": {"username": "ann" if number % 2 else "Bob"},
            "cpu": (0.5, 2, 10)[number % 3],
            "paused": number % 4 == 0,
            "created_at": f"2026-01-{number % 28 + 1:02}T00:00:00Z",
        }
        if number % 5 == 0:
            record["note"] = ("é", "Z", "a")[number % 3]
        store.add("job", "p", record)
    return store


def listed(store: Store, query: dict[str, str]) -> list[str]:
    seen: list[str] = []
    token = ""
    while True:
        page = Page.of(query | {"page_token": token, "page_size": "7"})
        found, token = store.page("job", "p", page)
        seen += [one["id"] for one in found]
        if not token:
            return seen


def test_lists_are_the_same_as_from_a_file(url: str, tmp_path: Path) -> None:
    file, base = fill(Store(tmp_path / "records.db")), fill(Store(url))
    for query in QUERIES:
        assert listed(base, query) == listed(file, query), query
    assert len(listed(base, {"search_filter": '{"cpu":2}'})) == 20
    for made in (file, base):
        made.close()


def test_record_is_stored_once_changed_and_found(url: str) -> None:
    store = Store(url)
    odd = {"id": "r", "text": "a\0b \ud800 %s ? é", "type": "cron", "parent_run_id": ""}
    assert store.add("run", "j", odd, live=True)
    assert not store.add("run", "j", odd | {"text": "another"})
    found = store.get("run", "r")
    assert found is not None
    assert found["text"] == "a�b � %s ? é"
    assert [one["id"] for one in store.find("run", type="cron")] == ["r"]
    assert [one["id"] for one in store.live("run")] == ["r"]
    with contextlib.suppress(ZeroDivisionError), store.transaction():
        store.put("run", odd | {"text": "half"})
        raise ZeroDivisionError
    assert store.get("run", "r") == found
    store.put("run", odd | {"text": "whole"})
    assert store.live("run") == []
    assert store.newest("run", "j", 5)[0]["text"] == "whole"
    store.delete("run", "r")
    assert store.get("run", "r") is None
    store.close()


def test_reader_sees_own_shared_and_public_projects(url: str) -> None:
    store = Store(url)
    for number, (owner, visibility, people) in enumerate(
        [("ann", "private", {}), ("bob", "private", {}), ("bob", "public", {}),
         ("bob", "private", {"ann": "read"})]
    ):  # fmt: skip
        project = {"id": f"p{number}", "owner": {"username": owner}, "visibility": visibility}
        store.add("project", "", project | {"collaborators": people})
        store.add("job", f"p{number}", {"id": f"j{number}"})
    for kind, parent, letter in (("project", "", "p"), ("job", None, "j")):
        found, _ = store.page(kind, parent, Page(), "ann")
        assert [one["id"] for one in found] == [f"{letter}{n}" for n in (0, 2, 3)]
    store.close()


@pytest.mark.parametrize(
    "query", [{}, {"sort": "-created_at"}, {"search_filter": '{"status":"ENGINE_FAILED"}'}]
)
def test_long_history_is_read_by_its_index(url: str, query: dict[str, str]) -> None:
    store = Store(url)
    rows = (
        ("run", f"r{n}", "j", json.dumps({"created_at": f"{n:06}", "status": "X"}), 0)
        for n in range(3000)
    )
    sql = "INSERT INTO records (kind, id, parent, body, live) VALUES (?, ?, ?, ?, ?)"
    store.base.many(sql, list(rows))
    store.base.execute("ANALYZE records")
    page = Page.of(query)
    words, values = page.where(store.base)
    where = " AND ".join(["kind=?", "parent=?", *words])
    text = f"EXPLAIN SELECT body FROM records WHERE {where} ORDER BY {page.order(store.base)}"
    plan = store.base.rows(f"{text} LIMIT 11", ["run", "j", *values])
    store.close()
    lines = " ".join(row[0] for row in plan)
    assert "Index Scan" in lines, lines
    assert "Sort" not in lines, lines


def test_rows_of_calls_are_stored_once_merged_and_read_in_windows(url: str) -> None:
    async def work() -> None:
        metrics = Metrics(url)
        rows = [Row(f"u{n}", "crn", n, n + 5, n % 10 != 0, {"n": n}) for n in range(100)]
        await asyncio.gather(*(metrics.add(row) for row in [*rows, rows[0]]))
        await metrics.merge("u7", {"truth": 1, "n": None})
        first = await metrics.read("crn", 5, 94, 0, 40)
        rest = await metrics.read("crn", 5, 94, int(first["next_page_token"]), 100)
        seen = first["metrics"] + rest["metrics"]
        assert [row["startTimeStampMs"] for row in seen] == list(range(5, 95))
        assert seen[2]["metrics"] == {"truth": 1}
        assert metrics.counts() == [("crn", 100, 10, 500)]
        await metrics.aggregate("crn", 0, 10, {"accuracy": 0.5})
        assert (await metrics.read("crn", 0, 1, 0, 1))["aggregates"][0]["metrics"] == {
            "accuracy": 0.5
        }
        await metrics.aggregate("crn", 10, 20, {"psi": 0.3})
        assert metrics.newest_aggregates() == {"crn": {"psi": 0.3}}
        assert (await metrics.figures("crn"))["p50"] == 5
        assert await metrics.crn("u3") == "crn"
        with pytest.raises(Refusal, match="no call"):
            await metrics.merge("nobody", {"x": 1})
        metrics.close()

    asyncio.run(work())


def test_killed_server_loses_nothing_and_the_same_store_goes_on(
    url: str, server: postgres.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAUSE", 0.0)
    store = Store(url)
    for number in range(50):
        store.add("run", "j", {"id": f"r{number}"})
    server.kill()
    with pytest.raises(DatabaseGone, match="PostgreSQL") as gone:
        store.add("run", "j", {"id": "late"})
    assert postgres.PASSWORD not in str(gone.value)
    server.start()
    assert len(store.find("run", "j")) == 50
    server.kill()
    server.start()
    with store.transaction():  # on a new connection
        store.add("run", "j", {"id": "late"})
    assert len(store.find("run", "j")) == 51
    store.close()


def test_second_workbench_on_a_database_is_refused(url: str) -> None:
    store = Store(url)
    with pytest.raises(DatabaseGone, match="Another workbench uses this database"):
        Postgres(url, alone=True, patience=0)
    store.close()
    Postgres(url, alone=True, patience=60).close()


@pytest.mark.parametrize("place", ["mysql://x", "workbench.db"])
def test_what_is_no_url_of_a_database_is_refused(place: str) -> None:
    with pytest.raises(SystemExit, match="WORKBENCH_DATABASE must be a URL such as postgresql://"):
        connect(place)


PREDICT = "def predict(request):\n    return sum(request['values'])\n"


@pytest.mark.nightly
def test_killed_workbench_goes_on_from_its_database(
    bench: Workbench, server: postgres.Postgres, url: str, tmp_path: Path
) -> None:
    namespace = bench.cluster.namespace("postgres")
    env = {"WORKBENCH_DATABASE": url, "PGPASSWORD": postgres.PASSWORD}
    own = Workbench(bench.cluster, namespace, tmp_path, env).start()
    try:
        project = own.project("kept", predict__py=PREDICT, wait__py="import time\ntime.sleep(1)\n")
        builds, made, build = own.model(project, "m")
        path = own.deploy(builds, build)
        job = own.job(project, "wait.py")
        run = own.run(project, job)
        answer = own.call(made["access_key"], {"values": [1, 2]}).json()["response"]
        own.end(signal.SIGKILL)
        server.kill()
        server.start()
        own.start()
        assert own.ended(project, job, run)["status"] == "ENGINE_SUCCEEDED"
        rows = own.rows(answer["model_deployment_crn"])
        assert [row["predictionUuid"] for row in rows] == [answer["uuid"]]
        assert own.call(made["access_key"], {"values": [1, 2]}).json()["success"]
        state = own.repository / "workbench/state/workbench"
        assert [file.name for file in state.iterdir()] == ["key"]
        assert server.ask("SELECT count(*) FROM records WHERE kind='run'") == [(1,)]
        own.ask("POST", f"{path}:stop")
        own.deployed(path, "stopped")
    finally:
        own.end()
