"""An application is a folder: the catalogue's lists follow from the folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from labrunner import catalog
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast


def test_lists_of_the_catalogue_are_as_labs_build_makes_them() -> None:
    found = catalog.kustomizations(ROOT / "catalog")
    assert len(found) >= 3
    assert [str(path) for path, text in found.items() if path.read_text("utf-8") != text] == []


def test_new_folder_is_listed_with_what_it_shares(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "catalog", tmp_path / "catalog")
    folder = tmp_path / "catalog" / "echo"
    (folder / "shared").mkdir(parents=True)
    (folder / "kdapp.yaml").write_text("kind: KubeDirectorApp\n")
    (folder / "shared" / "echo-shared.yaml").write_text("kind: KubeDirectorCluster\n")
    assert catalog.save(tmp_path)
    assert catalog.save(tmp_path) == []

    def resources(path: str) -> list[str]:
        text = (tmp_path / "catalog" / path / "Kustomization").read_text()
        return list(yaml.safe_load(text)["resources"])

    assert "echo/kdapp.yaml" in resources("")
    assert "../echo/shared" in resources("shared")
    assert resources("echo/shared") == ["echo-shared.yaml"]
