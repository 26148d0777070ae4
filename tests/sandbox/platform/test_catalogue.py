"""`--catalog`: one folder decides what the operator installs, tenants get and images are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from labsandbox.catalogue import Catalogue, CatalogueError
from labsandbox.state import State, read_json
from tests.sandbox.conftest import ROOT
from tests.sandbox.platform.program import until


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a copy of the catalogue in which one application has another name and image."""
    folder = tmp_path / "catalog"
    shutil.copytree(ROOT / "catalog", folder)
    shutil.move(folder / "jupyter-notebook", folder / "renamed")
    for name in ("kdapp.yaml", "image.toml"):
        file = folder / "renamed" / name
        text = file.read_text().replace("name: jupyter-notebook\n", "name: renamed\n")
        file.write_text(text.replace("labs/notebook:1.0", "labs/renamed:2.0"))
    return folder


@pytest.fixture
def platform(other: Path, tmp_path: Path) -> Iterator[State]:
    """Run a platform of that catalogue."""
    state = State.at(tmp_path / "state")
    words = [sys.executable, "-m", "labsandbox.platform", "--state", str(state.root)]
    program = subprocess.Popen(
        [*words, "--catalog", str(other), "--until-eof"], cwd=ROOT, stdin=subprocess.PIPE
    )
    assert program.stdin is not None
    try:
        until("the platform is ready", lambda: read_json(state.platform_json).get("ready"))
        yield state
    finally:
        program.stdin.close()
        assert program.wait(30) == 0


@pytest.mark.sandbox
def test_catalogue_of_a_platform_reaches_operator_tenants_and_node(platform: State) -> None:
    url = json.loads(platform.apiserver_json.read_text())["url"]
    pair = tuple(str(platform.pki / f"client-kubernetes-admin.{end}") for end in ("crt", "key"))
    with requests.Session() as session:
        session.trust_env = False  # it may name another authority
        session.cert, session.verify = pair, str(platform.ca)
        for namespace in ("kubedirector", "k8smltenant"):
            path = f"/apis/kubedirector.hpe.com/v1beta1/namespaces/{namespace}/kubedirectorapps"
            items = session.get(url + path, timeout=20).json()["items"]
            names = {item["metadata"]["name"] for item in items}
            assert "renamed" in names
            assert "jupyter-notebook" not in names
        container = {"name": "c", "image": "labs/renamed:2.0", "command": ["true"]}
        pod = {
            "metadata": {"name": "p"},
            "spec": {"restartPolicy": "Never", "containers": [container]},
        }
        made = session.post(f"{url}/api/v1/namespaces/default/pods", json=pod, timeout=20)
        assert made.status_code == 201, made.text

        def phase() -> str:
            found = session.get(f"{url}/api/v1/namespaces/default/pods/p", timeout=20).json()
            return str(found["status"].get("phase"))

        until("the image of the catalogue ran", lambda: phase() == "Succeeded")


@pytest.mark.fast
@pytest.mark.parametrize("lacking", ["images.toml", "*/kdapp.yaml"])
def test_folder_that_is_no_catalogue_is_refused_with_what_it_lacks(
    other: Path, lacking: str
) -> None:
    for file in other.glob(lacking):
        file.unlink()
    with pytest.raises(CatalogueError, match="Start from a copy") as refused:
        Catalogue(other).check()
    assert f"found no {lacking} in it" in str(refused.value)
