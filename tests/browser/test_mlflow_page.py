"""MLflow's own page through the gateway: experiments, runs compared, versions of a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from playwright.sync_api import Browser, Error, Page, Playwright, expect

from labhelpers.deadline import wait
from tests.browser import chromium
from tests.browser.workshop import Workshop
from tests.labs.platform import GROUP, Platform
from tests.sandbox.platform.test_mlflow import MANIFEST

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(600)]
NAME = "mlflow-page"
LOG = """
import json
import mlflow

mlflow.set_experiment("seen in a browser")
client, runs = mlflow.MlflowClient(), {}
for alpha in (0.125, 0.5):
    with mlflow.start_run(run_name=f"strength {alpha}") as run:
        mlflow.log_param("alpha", alpha)
        for step in range(4):
            mlflow.log_metric("rmse", 0.9 - alpha / 10 - step / 10, step=step)
        mlflow.log_text("hello", "model/notes.txt")
    runs[alpha] = run.info
client.create_registered_model("seen model")
for info in runs.values():
    client.create_model_version("seen model", f"{info.artifact_uri}/model", info.run_id)
client.set_registered_model_alias("seen model", "champion", "2")
ids = [info.run_id for info in runs.values()]
print(json.dumps({"experiment": client.get_run(ids[0]).info.experiment_id, "runs": ids}))
"""


@dataclass(frozen=True)
class Served:
    """A tracking server behind the gateway, and what was logged to it."""

    address: str
    token: str
    experiment: str
    runs: list[str]


def ordered(platform: Platform) -> tuple[str, str]:
    """Order a tracking server; return its address and its token."""
    custom = client.CustomObjectsApi(platform.api())
    where: dict[str, Any] = {
        **GROUP,
        "namespace": platform.namespace,
        "plural": "kubedirectorclusters",
    }
    body = MANIFEST | {"metadata": {"name": NAME}}
    custom.create_namespaced_custom_object(body=body, **where)
    wait(
        "MLflow to be configured",
        lambda: platform.kdclusters()[NAME].get("status", {}).get("state"),
        until=lambda state: state == "configured",
        deadline=240,
    )
    return platform.gateway(NAME, 5000)


@pytest.fixture(scope="module")
def served(open_workshop: Workshop) -> Iterator[Served]:
    platform = open_workshop.platform
    address, token = ordered(platform)
    try:
        env = os.environ | {
            "MLFLOW_TRACKING_URI": address,
            "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": platform.settings["EZMERAL_CA"],
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        }
        done = subprocess.run([sys.executable, "-c", LOG], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield Served(address, token, **json.loads(done.stdout.splitlines()[-1]))
    finally:
        where: dict[str, Any] = {**GROUP, "namespace": platform.namespace}
        custom = client.CustomObjectsApi(platform.api())
        custom.delete_namespaced_custom_object(name=NAME, plural="kubedirectorclusters", **where)


@pytest.fixture
def signed_in(served: Served, page: Page) -> Page:
    """Open the page with the token once; it is in no address afterwards."""
    page.goto(f"{served.address}/?X-Auth-Token={served.token}")
    expect(page.get_by_text("Experiments").first).to_be_visible()
    assert served.token not in page.url
    return page


def test_experiments_are_listed_and_nothing_foreign_is_asked(
    served: Served, signed_in: Page
) -> None:
    foreign: list[str] = []
    signed_in.on("request", lambda asked: foreign.append(asked.url))
    signed_in.goto(f"{served.address}/#/experiments")
    expect(signed_in.get_by_role("link", name="seen in a browser").first).to_be_visible()
    own = (served.address, "data:", "blob:")
    assert [url for url in foreign if not url.startswith(own)] == []


def test_runs_are_compared_side_by_side(served: Served, signed_in: Page) -> None:
    runs, experiments = json.dumps(served.runs), json.dumps([served.experiment])
    signed_in.goto(f"{served.address}/#/compare-runs?runs={runs}&experiments={experiments}")
    expect(signed_in.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible()
    for text in ("strength 0.125", "strength 0.5", "alpha", "rmse", "0.125", "0.5"):
        expect(signed_in.locator("body")).to_contain_text(text)


def test_versions_of_a_model_and_the_alias_are_shown(served: Served, signed_in: Page) -> None:
    signed_in.goto(f"{served.address}/#/models/seen%20model")
    expect(signed_in.get_by_role("link", name="Version 2").first).to_be_visible()
    expect(signed_in.get_by_role("link", name="Version 1").first).to_be_visible()
    expect(signed_in.get_by_text("champion").first).to_be_visible()


def test_page_is_closed_without_the_token(served: Served, browser: Browser) -> None:
    with (
        chromium.window(browser) as page,
        pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"),
    ):
        page.goto(f"{served.address}/version")  # the browser asks for a password, and has none


def test_browser_that_does_not_know_the_platform_refuses_the_page(
    served: Served, driver: Playwright, folder: Path
) -> None:
    with (
        chromium.stranger(driver, folder / "stranger to mlflow") as page,
        pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"),
    ):
        page.goto(served.address)
