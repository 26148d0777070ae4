"""Image names and what they stand for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from labsandbox.node import confinement, images
from labsandbox.node.images import Images, UnknownImage

pytestmark = pytest.mark.fast

CATALOG = Path(__file__).parents[3] / "catalog" / "images.toml"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("busybox", "busybox:latest"),
        ("library/busybox:1.36", "busybox:1.36"),
        ("registry.example.com:5000/labs/x:1", "labs/x:1"),
        ("localhost/x", "x:latest"),
        ("labs/notebook:1.0", "labs/notebook:1.0"),
        ("busybox:1@sha256:0123", "busybox:1"),
    ],
)
def test_normalise_leaves_host_and_digest_out(name: str, expected: str) -> None:
    assert images.normalise(name) == expected


def test_find_unknown_lists_the_known_ones() -> None:
    with pytest.raises(UnknownImage, match=r"There are: .*busybox.* catalog/images.toml"):
        Images(CATALOG).find("mysql:8")


@pytest.mark.parametrize("text", ["[images", 'images = "x"', '[images."a:1"]\nargs = "sh"'])
def test_damaged_catalogue_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.toml"
    path.write_text(text)
    known = Images(path)
    with pytest.raises(UnknownImage, match=r"images\.toml"):
        known.find("a:1")
    path.write_text('[images."a:1"]\n')
    os.utime(path, ns=(1, 1))
    assert known.find("a:1").name == "a:1"


def test_find_any_tag_of_the_catalogue() -> None:
    known = Images(CATALOG)
    assert known.find("busybox").args == ("sh",)
    assert known.find("python:3.12-slim").args[0].endswith("python")


def test_find_reads_a_changed_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "images.toml"
    path.write_text('[images."a:1"]\n')
    known = Images(path)
    assert known.find("a:1").name == "a:1"
    path.write_text('[images."b:1"]\n')
    os.utime(path, ns=(1, 1))
    with pytest.raises(UnknownImage):
        known.find("a:1")


def test_image_of_an_application_is_found_in_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "catalog" / "images.toml"
    path.parent.mkdir()
    path.write_text('[applications]\npackages = { "/opt/p.tgz" = "p" }\n')
    known = Images(path)
    assert known.known() == {}
    folder = path.with_name("echo")
    folder.mkdir()
    (folder / "image.toml").write_text('name = "labs/echo:1"\nargs = ["a"]\n')
    found = known.find("labs/echo:1")
    assert found.args == ("a",)
    assert found.packages == {"/opt/p.tgz": tmp_path.resolve() / "p"}


def test_image_without_a_name_says_where(tmp_path: Path) -> None:
    (tmp_path / "images.toml").touch()
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "image.toml").write_text('args = ["a"]\n')
    with pytest.raises(UnknownImage, match=r"expected name = .* in .*echo/image.toml"):
        Images(tmp_path / "images.toml").known()


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a catalogue with an image of the environment `tracking`."""
    monkeypatch.setenv("LABS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "catalog" / "images.toml"
    path.parent.mkdir()
    path.write_text(
        '[images."a:1"]\ncommand = ["{python:tracking}", "-m", "a"]\n'
        '[images."b:1"]\ncommand = ["{python:x}", "{python:y}"]\n'
        '[images."c:1"]\ncommand = ["{python}"]\nenv = { OTHER = "t={python:tracking}" }\n'
    )
    return path


def install(folder: Path) -> Path:
    """Leave what an installation leaves."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (folder / "house-on-the-lake.stamp").write_text("x\n")
    return folder


def test_image_of_an_environment_that_is_not_installed_says_what_to_type(tracked: Path) -> None:
    root = tracked.parents[1]
    (root / ".venv-tracking" / "bin").mkdir(parents=True)  # an installation that was broken off
    with pytest.raises(UnknownImage, match="`labs setup tracking`"):
        Images(tracked).find("a:1")


@pytest.mark.parametrize("place", [".venv-tracking", "cache/environments/tracking"])
def test_image_runs_the_interpreter_of_its_environment(tracked: Path, place: str) -> None:
    known = Images(tracked)
    with pytest.raises(UnknownImage):
        known.find("a:1")
    folder = install(tracked.parents[1].resolve() / place)
    found = known.find("a:1")
    assert found.command == (str(folder / "bin" / "python"), "-m", "a")
    assert found.python == str(folder / "bin" / "python")


def test_image_with_an_environment_beside_its_own_names_it_in_a_variable(tracked: Path) -> None:
    folder = install(tracked.parents[1].resolve() / ".venv-tracking")
    found = Images(tracked).find("c:1")
    assert found.env == {"OTHER": f"t={folder}/bin/python"}
    assert (found.command, found.python) == ((sys.executable,), sys.executable)
    read = confinement.readable(tracked.parents[1], found.read, found.python)
    assert {(str(folder),), (sys.prefix,)} <= set(read)


def test_image_that_names_two_environments_is_refused(tracked: Path) -> None:
    with pytest.raises(UnknownImage, match="a pod has one"):
        Images(tracked).find("b:1")
    assert "a:1" in Images(tracked).known(), "the other images are still there"


def test_image_file_that_is_no_toml_is_named(tracked: Path) -> None:
    (tracked.parent / "echo").mkdir()
    (tracked.parent / "echo" / "image.toml").write_text("name = [\n")
    with pytest.raises(UnknownImage, match=r"expected TOML in .*echo/image\.toml"):
        Images(tracked).find("a:1")


def test_pod_reads_no_other_environment_than_its_own(tracked: Path) -> None:
    folder = install(tracked.parents[1].resolve() / ".venv-tracking")
    python = Images(tracked).find("a:1").python
    read = confinement.readable(tracked.parents[1], (), python)
    assert (str(folder),) in read
    assert (sys.prefix,) not in read
    assert (sys.prefix,) in confinement.readable(tracked.parents[1], ())


def test_pack_is_the_same_for_the_same_content(tmp_path: Path) -> None:
    for name in ("x", "y"):
        folder = tmp_path / name
        (folder / "app").mkdir(parents=True)
        (folder / "app" / "startscript").write_text("#!/bin/sh\n")
        (folder / "app" / "startscript").chmod(0o755)
        os.utime(folder / "app" / "startscript", (hash(name) % 1000, 5))
    assert images.pack(tmp_path / "x") == images.pack(tmp_path / "y")
