"""Airflow's own page through the gateway: grid, graph, and the log with the tree of child runs."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from kubernetes import client
from playwright.sync_api import Error, Page, Playwright, expect

from tests.browser import chromium
from tests.browser.workshop import Workshop
from tests.labapps import workbench
from tests.labapps.orchestrator import needs_airflow
from tests.labs.platform import Platform
from tests.labs.test_airflow_pods import order, ran
from tests.sandbox.platform.test_front_door import kubeconfig

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(1800), needs_airflow]
Shoot = Callable[[Page, str], None]
SECRET = "airflow-jobs-page"
DAG = """
from airflow.sdk import dag
from labapps.airflow.provider.operator import RunJobOperator

@dag(dag_id="page", schedule=None)
def page():
    load, chain, report = (
        RunJobOperator(task_id=task, project="seen", job=job, **more)
        for task, job, more in (
            ("load", "load", {"deferrable": False}), ("train_chain", "train", {}),
            ("report", "load", {}),
        )
    )
    load >> chain >> report

page()
"""
STATES = {"load": "success", "train_chain": "failed", "report": "upstream_failed"}
BADGE = "task-state-badge"
COLOUR = """
one => {  // painted: a colour may be written in any notation
    const paint = document.createElement("canvas").getContext("2d")
    paint.fillStyle = getComputedStyle(one).backgroundColor
    paint.fillRect(0, 0, 1, 1)
    return [...paint.getImageData(0, 0, 1, 1).data]
}
"""
PROGRAMS = {
    "load__py": "print('1,000 loans')",
    "train__py": "print('a model')",
    "push__py": "print('pushed')",
    "simulate__py": "raise SystemExit('the endpoint is away')",
}


@dataclass(frozen=True)
class Served:
    """An Airflow behind the gateway, and a run that failed in a grandchild of its second job."""

    address: str
    password: str
    run: str


def jobs_of(bench: workbench.Service) -> None:
    """Make three jobs that follow each other, and one that stands alone."""
    project = bench.project("seen", **PROGRAMS)
    bench.job(project, "load.py", name="load")
    parent = bench.job(project, "train.py", name="train")
    for name in ("push", "simulate"):
        parent = bench.job(project, f"{name}.py", name=name, parent_job_id=parent)


def connection(platform: Platform, key: str) -> None:
    """Lay the address and the key of the workbench into a Secret for Airflow."""
    core, space = platform.core(), platform.namespace
    chosen = "kubedirector.hpe.com/kdcluster=workbench,kubedirector.hpe.com/role=Workbench"
    (service,) = core.list_namespaced_service(space, label_selector=chosen).items
    host = f"http://{service.metadata.name}.{space}.svc.cluster.local:10001"
    text = json.dumps({"conn_type": "http", "host": host, "password": key})
    marks = {"kubedirector.hpe.com/secretType": "airflow"}
    secret = client.V1Secret(
        metadata=client.V1ObjectMeta(name=SECRET, labels=marks),
        data={"AIRFLOW_CONN_JOBS": b64encode(text.encode()).decode()},
    )
    core.create_namespaced_secret(space, secret)


@pytest.fixture(scope="module")
def served(open_workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Served:
    platform = open_workshop.platform
    folder: Path = tmp_path_factory.mktemp("airflow-page")
    config = kubeconfig(platform.settings, folder, platform.user)
    with requests.Session() as session:
        bench = workbench.order(platform.settings, config, session)
        jobs_of(bench)
        connection(platform, str(session.headers["Authorization"]).removeprefix("Bearer "))
        order(platform, SECRET)
        _, run, state = ran(platform, "page", DAG)
    assert state == "failed"
    return Served(*platform.gateway(f"airflow-{platform.user}", 8080), run)


@pytest.fixture
def signed_in(served: Served, page: Page) -> Page:
    """Sign in as a learner does."""
    page.goto(served.address)
    page.get_by_label("Username").fill("learner")
    page.locator("input[type=password]").fill(served.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Active Dags")).to_be_visible()
    assert served.password not in page.url
    return page


def test_grid_shows_where_the_run_failed(served: Served, signed_in: Page, shoot: Shoot) -> None:
    foreign: list[str] = []
    signed_in.on("request", lambda asked: foreign.append(asked.url))
    signed_in.goto(f"{served.address}/dags/page/runs/{served.run}")
    for task, is_red in (("load", False), ("train_chain", True)):
        badge = signed_in.get_by_test_id(f"grid-{served.run}-{task}").get_by_test_id(BADGE)
        expect(badge).to_be_visible()
        red, green, *_ = badge.evaluate(COLOUR)
        assert (red > green) is is_red, f"{task}: {red} red, {green} green"
    shoot(signed_in, "airflow-grid")
    assert [url for url in foreign if not url.startswith((served.address, "data:", "blob:"))] == []


def test_graph_has_the_tasks_and_their_states(
    served: Served, signed_in: Page, shoot: Shoot
) -> None:
    signed_in.goto(f"{served.address}/dags/page/runs/{served.run}")
    signed_in.get_by_role("button", name="Show Graph").click()
    graph = signed_in.locator(".react-flow")
    for task, state in STATES.items():
        node = graph.locator(".react-flow__node", has_text=task)
        expect(node).to_contain_text(state)
    expect(graph.locator(".react-flow__edge")).to_have_count(2)
    shoot(signed_in, "airflow-graph")


def test_log_has_the_tree_of_child_runs(served: Served, signed_in: Page, shoot: Shoot) -> None:
    signed_in.goto(f"{served.address}/dags/page/runs/{served.run}/tasks/train_chain")
    log = signed_in.locator("body")
    for words in (r"train \S+: SUCCEEDED", r"push \S+: SUCCEEDED", r"simulate \S+: FAILED"):
        expect(log).to_contain_text(re.compile(words))
    expect(log).to_contain_text("the endpoint is away")
    shoot(signed_in, "airflow-log")


def test_browser_that_does_not_know_the_platform_refuses_airflows_page(
    served: Served, driver: Playwright, folder: Path
) -> None:
    with (
        chromium.stranger(driver, folder / "stranger to airflow") as page,
        pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"),
    ):
        page.goto(served.address)
