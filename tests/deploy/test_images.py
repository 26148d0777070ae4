"""The Containerfile says what catalog/images.toml says, and installs no tool too many."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from labapps import requirements
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

FILE = ROOT / "labapps" / "Containerfile"
LOCK, PROJECT = ROOT / "requirements.lock", ROOT / "pyproject.toml"


def joined() -> str:
    return FILE.read_text().replace("\\\n", " ")


def catalogue() -> dict[str, dict[str, object]]:
    found = tomllib.loads((ROOT / "catalog" / "images.toml").read_text())["images"]
    return {name: entry for name, entry in found.items() if name.startswith("labs/")}


def told() -> dict[str, str]:
    """Return image name -> target, from the commands in the file's head."""
    return {
        image: target for target, image in re.findall(r"--target (\w+) -t (\S+) ", FILE.read_text())
    }


def test_each_image_of_the_catalogue_has_a_target() -> None:
    assert set(told()) == set(catalogue())
    stages = re.findall(r"^FROM \S+ AS (\w+)$", joined(), re.M)
    assert set(told().values()) == set(stages) - {"labs"}


@pytest.mark.parametrize("image", sorted(catalogue()))
def test_target_runs_the_program_of_the_laptop(image: str) -> None:
    stage = joined().split(f"FROM labs AS {told()[image]}\n")[1].split("\nFROM ")[0]
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", stage, re.M)
    words = [str(word).replace("{python}", "python") for word in catalogue()[image]["command"]]
    assert eval(entry) == words


def packing() -> str:
    (step,) = [line for line in joined().splitlines() if "/opt/configscript" in line]
    return step.removeprefix("RUN ")


def test_packing_makes_the_packages_that_the_catalogue_names(tmp_path: Path) -> None:
    step = packing().replace("/opt/configscript", shlex.quote(str(tmp_path)))
    subprocess.run(["sh", "-ec", step], check=True, cwd=ROOT, timeout=30)
    wanted: dict[str, str] = {}
    for entry in catalogue().values():
        wanted |= entry["packages"]
    assert {f"/opt/configscript/{path.name}" for path in tmp_path.iterdir()} == set(wanted)
    for path, folder in wanted.items():
        with tarfile.open(tmp_path / Path(path).name) as archive:
            (script,) = [name for name in archive.getnames() if name.endswith("/startscript")]
            packed = archive.extractfile(script)
            assert packed is not None
            assert packed.read() == (ROOT / folder / script).read_bytes()


def test_every_folder_that_is_copied_is_sent_to_the_builder() -> None:
    sent = FILE.with_name("Containerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (.+) \S+$", joined(), re.M)
    for word in " ".join(copied).split():
        assert (ROOT / word).exists()
        assert f"!{word.split('/')[0]}" in sent


def runtime() -> dict[str, requirements.Pin]:
    wanted = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    pins = requirements.closure(requirements.pins(LOCK.read_text()), wanted)
    return {pin.name: pin for pin in pins}


def test_images_hold_what_their_packages_need() -> None:
    found = runtime()
    for name in found:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system than this one
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert requirements.normal(need.name) in found, f"{name} needs {need}"


def test_images_hold_all_dependencies_and_no_tool_of_developers() -> None:
    found = set(runtime())
    project = tomllib.loads(PROJECT.read_text())["project"]
    assert {requirements.normal(name) for name in project["dependencies"]} <= found
    assert not {"ruff", "mypy", "playwright", "hypothesis", "uv", "jupyterhub"} & found
    everything = {pin.name for pin in requirements.pins(LOCK.read_text())}
    assert len(everything - found) > 40


def test_lines_of_the_lock_are_kept_as_they_are() -> None:
    lock = LOCK.read_text()
    for pin in runtime().values():
        assert "\n".join(pin.lines) in lock
        assert "--hash=sha256:" in "\n".join(pin.lines)
    assert len(list(requirements.pins(lock))) == len(re.findall(r"^[A-Za-z0-9]", lock, re.M))


def test_closure_follows_who_asked() -> None:
    lock = (
        "a==1 \\\n    --hash=sha256:1\n    # via us\n"
        "b==1 \\\n    --hash=sha256:2\n    # via\n    #   a\n    #   tool\n"
        "tool==1 \\\n    --hash=sha256:3\n    # via us\n"
    )
    names = [pin.name for pin in requirements.closure(requirements.pins(lock), ["a>=1"])]
    assert names == ["a", "b"]
