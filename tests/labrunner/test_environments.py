"""Named environments beside the main one: installed when needed, once, and offline afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from labrunner import curriculum as curricula
from labrunner import doctor, environments, install, session
from labrunner.cli import app
from labrunner.errors import BadCurriculum, LabError
from labrunner.replay import Plan
from labsandbox.node.images import environment_folders
from tests.labrunner.conftest import Checkout
from tests.labrunner.test_install import make_wheel
from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout with the environment `pebbles`, made of a wheel of our own; no network."""
    root = tmp_path / "checkout"
    for folder in ("labrunner", "environments"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "labrunner" / "install.py", root / "labrunner")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (root / "environments" / "pebbles.lock").write_text(make_wheel(wheels))
    (root / "environments" / "pebbles.in").write_text("# download: 3 MB\npebble==1.0\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # uv is here
    for tool in ("UV", "PIP"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("LABS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UV_INDEX_URL", raising=False)
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    return root


@pytest.fixture(params=["uv", pytest.param("pip", marks=pytest.mark.nightly)])
def installer(small: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Allow one of the two installers."""
    monkeypatch.setenv("HOUSE_INSTALLER", request.param)
    return str(request.param)


def shape(folder: Path) -> str:
    asked = [folder / "bin" / "python", "-c", "import pebble; print(pebble.SHAPE)"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def test_environment_is_installed_once_beside_the_main_one(
    small: Path, installer: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told: list[str] = []
    environments.ensure(small, ["pebbles"], told.append)
    folder = small / ".venv-pebbles"
    said = capfd.readouterr().out
    expected = f"Installing pebbles into {folder} with {installer}; at first this downloads 3 MB."
    assert said.splitlines()[0] == expected
    assert told == [f"The environment pebbles is installed in {folder}."]
    assert shape(folder) == "round"
    assert "VIRTUAL_ENV" not in os.environ or os.environ["VIRTUAL_ENV"] != str(folder)

    shutil.rmtree(tmp_path / "wheels")
    environments.ensure(small, ["pebbles"], told.append)
    assert capfd.readouterr().out == "", "a second call installs nothing and needs no network"
    assert len(told) == 1


def test_environment_goes_to_the_cache_when_the_checkout_may_not_be_written(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    environments.ensure(small, ["pebbles"], print)
    folder = tmp_path / "cache" / "environments" / "pebbles"
    assert shape(folder) == "round"
    assert not (small / ".venv-pebbles").exists()
    assert folder in environment_folders(small, "pebbles"), "the node looks there"


def test_node_looks_where_an_environment_is_installed(small: Path) -> None:
    assert environments.folder_of(small, "pebbles") in environment_folders(small, "pebbles")


def test_installation_that_was_killed_is_repaired(small: Path, installer: str) -> None:
    folder = small / ".venv-pebbles"
    environments.ensure(small, ["pebbles"], print)
    # What a kill in the middle leaves: no stamp, and a package that is half there.
    (folder / install.STAMP).unlink()
    (module,) = folder.glob("lib/*/site-packages/pebble.py")
    module.unlink()
    (record,) = folder.glob("lib/*/site-packages/pebble-1.0.dist-info")
    shutil.rmtree(record)
    assert not environments.find(small, "pebbles").is_installed
    environments.ensure(small, ["pebbles"], print)
    assert shape(folder) == "round"


def test_kill_in_the_middle_of_an_installation_leaves_no_stamp(small: Path, tmp_path: Path) -> None:
    slow = tmp_path / "bin" / "uv"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 60\n")
    slow.chmod(0o755)
    program = (
        "import pathlib; from labrunner import environments\n"
        f"environments.ensure(pathlib.Path({str(small)!r}), ['pebbles'], print)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PATH": f"{slow.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < end, "the installation never began"
            time.sleep(0.02)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert not environments.find(small, "pebbles").is_installed
    environments.ensure(small, ["pebbles"], print)
    assert environments.find(small, "pebbles").is_installed


def test_two_calls_at_once_install_once(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    work = [
        threading.Thread(target=environments.ensure, args=(small, ["pebbles"], lambda text: None))
        for _ in range(2)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert capfd.readouterr().out.count("Installing pebbles") == 1
    assert shape(small / ".venv-pebbles") == "round"


def test_changed_lock_makes_an_environment_out_of_date(small: Path) -> None:
    environments.ensure(small, ["pebbles"], print)
    lock = small / "environments" / "pebbles.lock"
    lock.write_text("# a remark\n" + lock.read_text())
    assert not environments.find(small, "pebbles").is_installed


def test_package_with_another_hash_is_refused_with_what_to_type(
    small: Path, installer: str
) -> None:
    lock = small / "environments" / "pebbles.lock"
    lock.write_text(lock.read_text()[:-9] + "deadbeef\n")
    with pytest.raises(LabError, match=r"environments/pebbles\.lock.*labs setup pebbles"):
        environments.ensure(small, ["pebbles"], print)
    assert not environments.find(small, "pebbles").is_installed


@pytest.mark.fast
def test_unknown_environment_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"found 'nothing'\. There are: airflow, .*tracking"):
        environments.find(ROOT, "nothing")
    with pytest.raises(LabError, match="There are: none"):
        environments.find(tmp_path, "nothing")


@pytest.mark.fast
def test_full_disk_names_the_environment_to_set_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "NEEDED_BYTES_NAMED", 10**18)
    with pytest.raises(install.SetupFailed, match=r"2 GB of free disk.*`labs setup pebbles`"):
        install.install(tmp_path, tmp_path / ".venv-pebbles", "pebbles")


@pytest.mark.fast
def test_doctor_lists_every_environment_and_what_to_type() -> None:
    found = {each.name: each for each in doctor.named_environments(ROOT)}
    assert {"Airflow", "Tracking"} <= set(found)
    for name in found:
        assert found[name].optional
        assert f"labs setup {name.lower()}" in found[name].cure
        assert "MB" in found[name].found or "installed in" in found[name].found


@pytest.mark.fast
def test_command_refuses_an_unknown_name() -> None:
    done = CliRunner().invoke(app, ["setup", "nothing"])
    assert done.exit_code != 0
    assert isinstance(done.exception, LabError)


def test_replay_installs_what_its_labs_need_and_says_so(
    small: Path, checkout: Checkout, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labs = checkout(one=("1 + 1\n", []), two=("2 + 2\n", []))
    first, second = labs.labs
    labs = replace(labs, root=small, labs=(replace(first, environment=("pebbles",)), second))
    for folder in ("notebooks", "labs.toml"):
        (small / folder).symlink_to(tmp_path / folder)
    console = Console(record=True, width=200, file=(tmp_path / "said").open("w"))
    for lab, count in ((labs.labs[1], 0), (labs.labs[0], 1)):
        session.replay(labs, Plan((lab,), tmp_path / "out"), console)
        assert capfd.readouterr().out.count("this downloads 3 MB") == count, lab.id
    console.file.close()
    assert console.export_text().count("The environment pebbles is installed in") == 1


@pytest.mark.fast
def test_labs_toml_takes_a_list_of_environments_only(tmp_path: Path) -> None:
    entry = '[[lab]]\nid = "a"\nfile = "a"\ntitle = "A"\nlevel = "beginner"\nminutes = 1\n'
    (tmp_path / "labs.toml").write_text(f'{entry}environment = ["tracking"]\n')
    assert curricula.load(tmp_path).labs[0].environment == ("tracking",)
    (tmp_path / "labs.toml").write_text(f'{entry}environment = "tracking"\n')
    with pytest.raises(BadCurriculum, match=r'environment = \["tracking"\]'):
        curricula.load(tmp_path)


def test_labs_whose_packages_were_left_out_are_refused_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    stamp = tmp_path / ".venv" / install.STAMP
    stamp.parent.mkdir()
    stamp.write_text("digest hub mlops\n")
    assert environments.missing_packages(tmp_path, ["logistics"]) == [], "another environment runs"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    environments.require_packages(tmp_path, ["core", "mlops"])
    with pytest.raises(LabError, match=r"make setup WORKSHOPS=logistics` \(it downloads 200 MB\)"):
        environments.require_packages(tmp_path, ["core", "logistics"])
