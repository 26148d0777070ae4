"""deploy/monitoring: its rules ask for numbers that the workbench has, and fire when they must."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from labapps.workbench.api import KINDS
from tests.deploy.schemas import VERSIONS, complaints, documents
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

FOLDER = ROOT / "deploy" / "monitoring"
OF_PROMETHEUS = {"up"}


def rules() -> list[dict[str, str]]:
    (group,) = yaml.safe_load((FOLDER / "rules.yaml").read_text("utf-8"))["groups"]
    found: list[dict[str, str]] = group["rules"]
    return found


def asked(expression: str) -> set[str]:
    """Return the metrics of an expression.

    >>> sorted(asked('max by (a) (x_total{name="b"}) > y'))
    ['x_total', 'y']
    """
    plain = re.sub(r"\{[^}]*\}|\[[^]]*\]|by \([^)]*\)", "", expression)
    return set(re.findall(r"[a-z_]+\b(?!\s*\()", plain))


def test_rules_ask_for_what_the_workbench_has() -> None:
    names = {name for rule in rules() for name in asked(rule["expr"])}
    assert names - OF_PROMETHEUS == set(KINDS)


def test_each_alert_says_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]


@pytest.mark.parametrize("version", VERSIONS)
def test_policy_keeps_to_the_schemas(version: str) -> None:
    (policy,) = documents((FOLDER / "network.yaml").read_text("utf-8"))
    assert complaints(policy, version) == []


def test_example_carries_the_annotations_that_are_scraped() -> None:
    (example,) = documents((ROOT / "catalog" / "workbench" / "example.yaml").read_text("utf-8"))
    notes = example["spec"]["roles"][0]["podAnnotations"]
    labels = re.findall(r"pod_annotation_(\w+)", (FOLDER / "scrape.yaml").read_text("utf-8"))
    assert {re.sub(r"\W", "_", name) for name in notes} == set(labels)
    app = yaml.safe_load((ROOT / "catalog" / "workbench" / "kdapp.yaml").read_text("utf-8"))
    assert notes["prometheus.io/port"] == str(app["spec"]["services"][0]["endpoint"]["port"])


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not on this machine; Debian's package prometheus has it")
    return found


def test_prometheus_accepts_the_rules_and_fires_them(promtool: str) -> None:
    words = [promtool, "test", "rules", "rules.test.yaml"]
    done = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_job(promtool: str, tmp_path: Path) -> None:
    shutil.copy(FOLDER / "rules.yaml", tmp_path)
    found = (FOLDER / "scrape.yaml").read_text("utf-8")
    # Debian's build does not know Kubernetes; all else of the job is read.
    plain = found.replace("kubernetes_sd_configs: [{role: pod}]", "static_configs: [{targets: []}]")
    assert plain != found
    (tmp_path / "scrape.yaml").write_text(plain, "utf-8")
    words = [promtool, "check", "config", "scrape.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_never_fires_is_found(promtool: str, tmp_path: Path) -> None:
    text = (FOLDER / "rules.yaml").read_text("utf-8")
    (tmp_path / "rules.yaml").write_text(text.replace("> 0.05 *", "> 0.5 *"), "utf-8")
    shutil.copy(FOLDER / "rules.test.yaml", tmp_path)
    words = [promtool, "test", "rules", "rules.test.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
