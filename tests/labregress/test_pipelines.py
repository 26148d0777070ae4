"""The files for Jenkins and GitHub parse, and each command in them exists with its options."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import typer.main
import yaml

from labregress.cli import app
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

FOLDER = ROOT / "deploy" / "pipelines"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def calls(text: str) -> list[list[str]]:
    """Return the words behind `labregress` of each call in a file."""
    joined = re.sub(r"\n +(?=--)", " ", text)
    found = re.findall(r"-m labregress ([^'\n]+)", joined)
    return [shlex.split(re.sub(r"\$\{[^}]*\}", "--all", line)) for line in found]


def test_workflow_has_what_github_asks_for() -> None:
    workflow = yaml.safe_load((FOLDER / "regression.yml").read_text())
    triggers = workflow[True]  # `on` is a boolean of YAML 1.1
    assert triggers["workflow_dispatch"]["inputs"]["all"]["type"] == "boolean"
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert job["timeout-minutes"]
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert re.search(r"@v\d+$", step.get("uses", "@v1")), "an action has a version"


def test_jenkinsfile_is_balanced_and_declarative() -> None:
    text = re.sub(r"//.*", "", (FOLDER / "Jenkinsfile").read_text())
    bare = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"", "''", text)
    assert "'" not in bare.replace("''", "")
    open_ones: list[str] = []
    for sign in re.findall(r"[{}()\[\]]", bare):
        if sign in "{([":
            open_ones.append(sign)
        else:
            assert open_ones.pop() + sign in ("{}", "()", "[]")
    assert open_ones == []
    assert re.match(r"\s*pipeline \{", bare)
    for section in ("agent any", "stages {", "steps {", "post {"):
        assert section in bare
    assert re.search(r"environment \{[^}]*\}\s+(stages|post)", bare)


@pytest.mark.parametrize("name", ["Jenkinsfile", "regression.yml", "README.md"])
def test_each_command_exists_with_its_options(name: str) -> None:
    text = (FOLDER / name).read_text()
    if name == "README.md":
        text = re.sub(r"`labregress ([^`|]+)", r"-m labregress \1\n", text)
    found = calls(text)
    assert found
    for command, *words in found:
        known = {option for one in COMMANDS[command].params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_folders_that_are_named_exist() -> None:
    for name in ("Jenkinsfile", "regression.yml"):
        for path in re.findall(r"labregress/cases/\w+", (FOLDER / name).read_text()):
            assert (ROOT / path / "train.py").is_file()


def test_accepted_report_is_green() -> None:
    rows = json.loads((FOLDER / "accepted.json").read_text())["rows"]
    assert {row["version"] for row in rows} >= {"1.30.1", "2.0.1", "3.17.2"}
    assert {row["status"] for row in rows} == {"passed"}


def test_rule_finds_an_option_that_does_not_exist() -> None:
    ((command, *words),) = calls("sh 'python -m labregress run --everything'")
    known = {option for one in COMMANDS[command].params for option in one.opts}
    assert not set(words) <= known
