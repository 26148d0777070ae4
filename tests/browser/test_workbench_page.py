"""The workbench's page: what it shows, to whom, and whether everybody can read it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, Playwright, expect

from labapps.workbench import state
from labapps.workbench.metrics import Metrics, Row
from labapps.workbench.runs import new_run
from labapps.workbench.store import Store
from labshow.sheet import Box, Sheet
from tests.browser import chromium
from tests.browser.accessibility import judge
from tests.labapps.pods import ROOT, address, eventually
from tests.labapps.workbench import Service
from tests.sandbox.conftest import ApiServer

pytestmark = [pytest.mark.labs, pytest.mark.timeout(300)]
Shoot = Callable[[Page, str], None]
STATES = {
    "read trips": [state.SUCCEEDED, state.SUCCEEDED],
    "train": [state.FAILED, state.SUCCEEDED],
    "score": [state.SKIPPED, state.RUNNING],
    "report": [state.TIMEDOUT, state.STOPPED],
}


@pytest.fixture(scope="module")
def browser(driver: Playwright, folder: Path) -> Iterator[Browser]:
    """A browser that needs no platform."""
    with chromium.running(driver, folder / "plain") as found:
        yield found


class Program:
    """A workbench beside an API server that runs nothing: what it shows was seeded."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server, self.folder, self.host = server, folder, address()
        self.state = folder / "workbench/state/workbench"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        words = ["--kubeconfig", str(self.server.kubeconfig), "--host", self.host]
        words += ["--namespace", "default", "--repository", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "labapps.workbench", *words],
                env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
            )  # fmt: skip
        url, session = f"http://{self.host}:10001", requests.Session()
        eventually("the workbench to answer", lambda: requests.get(f"{url}/health").ok, 60)
        session.headers["Authorization"] = f"Bearer {(self.state / 'key').read_text()}"
        return Service(url, session)

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    server = ApiServer(tmp_path_factory.mktemp("api")).start()
    program = Program(server, tmp_path_factory.mktemp("repository"))
    try:
        bench = program.start()
        project = bench.project("Trips <b>DEV</b>", predict__py="def predict(r):\n    return 1\n")
        parent = ""
        for name in STATES:
            body = {"parent_id": parent} if parent else {}
            parent = bench.job(project, "predict.py", name=name, **body)
        bench.job(project, "predict.py", name="nightly", schedule="0 2 * * *", paused=True)
        builds, _, _ = bench.model(project, "fare")
        bench.build(builds)
        for build in bench.ask("GET", builds)["model_builds"]:
            bench.ask("POST", f"{builds}/{build['id']}/deployments", {"replicas": 2})
        program.end()
        seed(program.state, project)
        yield program.start()
    finally:
        program.end()
        server.stop()


def seed(place: Path, project: str) -> None:
    """Write what would have happened on a cluster."""
    store, metrics = Store(place / "records.db"), Metrics(place / "metrics.db")
    for job in store.find("job", project):
        for number, status in enumerate(STATES.get(job["name"], [])):
            run: dict[str, Any] = new_run(f"{job['id'][:-1]}{number}", job, {})
            run |= {"status": status, "facts": {"rows": 1200 + number}}
            run["reason"] = "Error: exit code 1" if status == state.FAILED else ""
            store.add("run", job["id"], run)
    (model,) = store.find("model", project)
    old, new = store.find("build", model["id"])
    why = "ModuleNotFoundError: No module named 'stumpy'"
    store.put("build", old | {"status": "built"})
    store.put("build", new | {"status": "build failed", "reason": why})
    first, second = store.find("deployment")
    store.put("deployment", first | {"status": "stopped", "stopped_at": first["created_at"]})
    store.put("deployment", second | {"status": "failed", "reason": f"The build failed: {why}"})

    async def call() -> None:
        rows = [Row(f"u{n}", first["crn"], n, n + n % 40, n % 25 != 0) for n in range(400)]
        await asyncio.gather(*(metrics.add(row) for row in rows))

    with ThreadPoolExecutor(1) as thread:  # the browser's driver has a loop in this one
        thread.submit(lambda: asyncio.run(call())).result()
    metrics.close()
    store.close()


def sign_in(page: Page, served: Service) -> None:
    page.goto(served.url)
    page.get_by_label("API key").fill(str(served.session.headers["Authorization"])[7:])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Workbench")


def test_page_shows_nothing_without_a_key(served: Service, page: Page) -> None:
    page.goto(served.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    judge(page)
    page.get_by_label("API key").fill("not a key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("This key is not known here.")
    assert "Trips" not in page.content()
    judge(page)
    answer = requests.get(f"{served.url}/page/projects/x", timeout=30)
    assert "Sign in" in answer.text


def test_page_shows_jobs_as_a_tree_and_what_models_answered(
    served: Service, page: Page, shoot: Shoot
) -> None:
    sign_in(page, served)
    judge(page)
    page.get_by_role("link", name="Trips").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Trips <b>DEV</b>")
    trees = page.locator("ul.tree")
    # Each job lies below the one after whose success it starts.
    nested = trees.locator("li:has(> strong)", has_text="report").locator("strong")
    assert nested.all_inner_texts() == list(STATES)
    for word in ("succeeded", "failed", "skipped", "running", "timedout", "stopped", "paused"):
        assert word in trees.inner_text()
    assert "exit code 1" in trees.inner_text()
    rows = page.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("predict.py:predict")
    assert [cell.strip() for cell in rows.nth(1).locator("td").all_inner_texts()[-4:]] == [
        "400", "16", "20 ms", "39 ms",
    ]  # fmt: skip
    expect(rows.nth(2)).to_contain_text("No module named 'stumpy'")
    judge(page)
    shoot(page, "workbench")


def test_key_of_a_page_is_no_key_of_the_api(served: Service, page: Page) -> None:
    sign_in(page, served)
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    jar = {cookie["name"]: cookie["value"]}
    assert requests.get(f"{served.url}/api/v2/projects", cookies=jar, timeout=30).status_code == 401


def test_stranger_sees_no_private_project(served: Service, page: Page) -> None:
    key = served.ask("POST", "/users/ann/v2_keys", {})["api_key"]
    page.goto(served.url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("signed in as ann")).to_be_visible()
    assert "Trips" not in page.content()


def test_description_of_the_api_is_accessible(served: Service, page: Page) -> None:
    page.goto(f"{served.url}/docs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Workbench")
    judge(page)


def test_page_that_a_job_wrote_is_shown_and_may_do_nothing(served: Service, page: Page) -> None:
    made = Sheet("Loans of March", "What was decided.")
    made.bars("Refused by purpose", [("medical", 12.0), ("other", 3.0)], unit="loans")
    boxes = {"a": Box("data", "loans", "12,000 rows"), "b": Box("run", "train", "job run")}
    made.graph("Lineage", ["data", "run"], boxes, [("a", "b", "the tag")])
    hostile = "<script>document.title='ran'</script><img src=/x onerror=document.title='ran'>"
    project = served.ask("POST", "/projects", {"name": "Reports"})["id"]
    files = f"/projects/{project}/files"
    served.ask("PUT", f"{files}/report.html", data=made.html().encode())
    served.ask("PUT", f"{files}/hostile.html", data=hostile.encode())
    served.ask("PUT", f"{files}/plain.txt", data=b"text")
    sign_in(page, served)
    page.get_by_role("link", name="Reports").click()
    page.get_by_role("link", name="report.html").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Loans of March")
    expect(page.get_by_role("img", name="Refused by purpose")).to_be_visible()
    (cookie,) = page.context.cookies()
    jar = {cookie["name"]: cookie["value"]}
    folder = f"{served.url}/page/projects/{project}/files"
    answer = requests.get(f"{folder}/report.html", cookies=jar, timeout=30)
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert "Sign in" in requests.get(f"{folder}/report.html", timeout=30).text
    assert requests.get(f"{folder}/plain.txt", cookies=jar, timeout=30).status_code == 404
    page.goto(f"{folder}/hostile.html")
    assert page.title() != "ran"
    page.goto("about:blank")  # a sandboxed page runs no script, axe's included
    page.set_content(made.html())
    judge(page)
