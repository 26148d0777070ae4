"""Set-up with uv and with pip, on a small lock made of a wheel of our own; nothing downloads.

Both installers take the same way as with the real lock. The real one is installed by whichever of
the two is there each time these tests run; `test_real_lock_installs_with_pip` is the nightly form.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from labhelpers.deadline import wait
from labrunner import install
from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

PROJECT = """
[project]
name = "small"
dependencies = ["pebble"]
[project.optional-dependencies]
dev = ["chisel"]
fleet = ["lorry"]
[project.scripts]
small = "small.cli:main"
"""
WARM = "import pathlib; pathlib.Path('warm').touch()\n"
JARS = "import pathlib\npathlib.Path('jars').touch()\n"
UV = Path(sys.executable).with_name("uv")
Setup = Callable[..., subprocess.CompletedProcess[str]]


def make_wheel(folder: Path, name: str = "pebble", program: str = "") -> str:
    """Write a wheel with one module, or a program, and return its line for a lock."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    files = {
        f"{name}.py": "SHAPE = 'round'\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    if program:
        files[f"{name}-1.0.data/scripts/{name}"] = program
    record = "".join(f"{file},{digest(text)},{len(text)}\n" for file, text in files.items())
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = (0o100755 if "/scripts/" in file else 0o100644) << 16
            wheel.writestr(entry, text)
        listed = f"{name}-1.0.dist-info/RECORD"
        wheel.writestr(listed, f"{record}{listed},,\n")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def digest(text: str) -> str:
    raw = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={raw.decode().rstrip('=')}"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a checkout with the real install.py, a small lock and a wheel for it."""
    root = tmp_path / "checkout"
    for file in ("labrunner/install.py", "labapps/requirements.py"):
        (root / file).parent.mkdir(parents=True)
        shutil.copy(ROOT / file, root / file)
    files = {
        "labspark/jars.py": JARS,
        "labspark/warm.py": WARM,
        "small/cli.py": "def main(): print(7)",
    }
    for package, text in files.items():
        (root / package).parent.mkdir(exist_ok=True)
        (root / package).write_text(text)
        (root / package).with_name("__init__.py").touch()
    (root / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "wheels").mkdir()
    wheels = [make_wheel(tmp_path / "wheels", name) for name in ("chisel", "lorry", "pebble")]
    (root / "requirements.lock").write_text("".join(wheels))
    return root


@pytest.fixture
def setup(small: Path) -> Setup:
    def run(installer: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        wheels = str(small.parent / "wheels")
        places = [str(Path(sys.executable).parent)] if installer == "uv" else []
        hidden = ("UV_", "PIP_", "VIRTUAL_ENV", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        environment = {
            **kept,
            "PATH": os.pathsep.join([*places, "/usr/bin", "/bin"]),
            "HOUSE_INSTALLER": installer,
            **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels},
            **{"UV_NO_INDEX": "1", "UV_FIND_LINKS": wheels},
            **{"UV_CACHE_DIR": str(small.parent / "cache"), **more},
        }
        base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
        return subprocess.run(
            [base, "-I", "labrunner/install.py", *words],
            cwd=small,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.mark.parametrize(
    ("program", "told", "installer"),
    [
        pytest.param(f'exec {shutil.which("uv") or UV} "$@"', "with uv", "uv", id="works"),
        pytest.param("[ $1 = --version ] || exit 2", "Now pip", "pip", id="fails"),
    ],
)
def test_setup_without_uv_installs_it_first_and_goes_on_with_pip_where_it_fails(
    small: Path, setup: Setup, program: str, told: str, installer: str
) -> None:
    line = make_wheel(small.parent / "wheels", "uv", f"#!/bin/sh\n{program}\n")
    lock = small / "requirements.lock"
    lock.write_text(lock.read_text() + line)
    project = small / "pyproject.toml"
    project.write_text(project.read_text().replace('["pebble"]', '["pebble", "uv"]'))
    done = setup("")
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    python = small / ".venv/bin/python"
    assert subprocess.run([python, "-c", "import pebble"]).returncode == 0
    assert subprocess.run([python, "-c", "import chisel"], capture_output=True).returncode == 1
    (by,) = (small / ".venv").glob("lib/*/site-packages/pebble-1.0.dist-info/INSTALLER")
    assert by.read_text().strip() == installer


@pytest.mark.fast
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"PIP_INDEX_URL": "http://mirror"}, True),
        ({"PIP_INDEX_URL": "http://mirror", "UV_DEFAULT_INDEX": "http://mirror"}, False),
        ({"PIP_CONFIG_FILE": "pip.conf"}, True),
        ({}, False),
    ],
)
def test_mirror_that_is_set_for_pip_alone_is_left_to_pip(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    expected: bool,
) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://mirror\n")
    monkeypatch.chdir(tmp_path)
    base = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert install.only_pip_has_an_index(base) == expected


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_setup_installs_the_lock_and_our_commands_once(
    small: Path, setup: Setup, installer: str
) -> None:
    first = setup(installer)
    assert first.returncode == 0, first.stderr
    assert f"with {installer}" in first.stdout
    python, says = small / ".venv/bin/python", "import pebble, small; print(pebble.SHAPE)"
    assert subprocess.run([python, "-c", says], capture_output=True, text=True).stdout == "round\n"
    command = subprocess.run([small / ".venv" / "bin" / "small"], capture_output=True, text=True)
    assert command.stdout == "7\n"
    assert (small / "jars").exists(), "the jars are prepared at set-up"
    places = (
        "labspark/__pycache__/warm.*.pyc",
        ".venv/lib/*/site-packages/__pycache__/pebble.*.pyc",
    )
    assert all(list(small.glob(one)) for one in places), "bytecode is there before a pod needs it"
    wait("the compiler to have begun", (small / "warm").exists, deadline=120)
    shutil.rmtree(small.parent / "wheels")
    second = setup(installer)
    assert (second.returncode, second.stdout) == (0, ""), "a second call installs nothing"


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.nightly)])
def test_parts_of_the_lock_come_when_they_are_asked_for(
    small: Path, setup: Setup, installer: str
) -> None:
    def has(*names: str) -> bool:
        found = (small / ".venv").glob("lib/python3*/site-packages/*.py")
        return {path.stem for path in found} & {"pebble", "lorry", "chisel"} == set(names)

    assert setup(installer, WORKSHOPS="core").returncode == 0
    assert has("pebble")
    assert setup(installer).stdout == "", "what was left out stays out"
    assert setup(installer, WORKSHOPS="core,fleet").returncode == 0
    assert has("pebble", "lorry")
    assert setup(installer, WORKSHOPS="core").stdout == "", "what is there stays"
    assert setup(installer, "--dev").returncode == 0
    assert has("pebble", "lorry", "chisel")


def test_environment_that_an_older_setup_made_keeps_all_that_it_has(
    small: Path, setup: Setup
) -> None:
    """Its stamp names no parts: the whole lock was installed then."""
    assert setup("uv", "--dev").returncode == 0
    stamp = small / ".venv" / "house-on-the-lake.stamp"
    stamp.write_text(f"{'0' * 64}\n")
    assert "Installing" in setup("uv").stdout
    found = (small / ".venv").glob("lib/python3*/site-packages/*.py")
    assert {path.stem for path in found} >= {"pebble", "lorry", "chisel"}


def test_changed_lock_is_installed_again(small: Path, setup: Setup) -> None:
    assert setup("uv").returncode == 0
    (small / "requirements.lock").write_text(
        "# a remark\n" + (small / "requirements.lock").read_text()
    )
    assert "Installing" in setup("uv").stdout


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_wheel_with_another_hash_is_refused(small: Path, setup: Setup, installer: str) -> None:
    lock = small / "requirements.lock"
    lock.write_text(lock.read_text()[:-9] + "deadbeef\n")
    done = setup(installer)
    assert done.returncode == 1
    assert f"Expected `{'uv' if installer == 'uv' else 'python'}` to install" in done.stderr
    assert not (small / ".venv" / install.STAMP).exists()


@pytest.mark.fast
def test_old_python_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(install.SetupFailed, match=r"Expected Python 3\.11 or newer, found 3\.9\.2"):
        install.use_newer_python()


@pytest.mark.fast
def test_old_python_gives_way_to_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(os, "execv", lambda path, arguments: called.append(path))
    monkeypatch.setattr(install, "OLDEST", (3, 9))
    install.use_newer_python()
    assert called == []
    monkeypatch.setattr(install, "OLDEST", (3, 11))
    with pytest.raises(install.SetupFailed):
        install.use_newer_python()
    assert called == ["/bin/python3.13", "/bin/python3.12", "/bin/python3.11"]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("No module named venv", "apt install python3"),
        ("ensurepip is not available", "venv or ensurepip module is missing"),
        ("OSError: [Errno 28] No space left on device", "Expected 4 GB of free disk"),
    ],
)
def test_failing_venv_is_one_sentence(tmp_path: Path, said: str, expected: str) -> None:
    assert expected in install.why_no_venv(tmp_path, said)


@pytest.mark.fast
def test_full_disk_is_told_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "NEEDED_BYTES", 10**18)
    with pytest.raises(install.SetupFailed, match="Free some space"):
        install.install(tmp_path, tmp_path / ".venv")


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_real_lock_installs_with_pip(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "c")], check=True)
    environment = {**os.environ, "HOUSE_INSTALLER": "pip"}
    done = subprocess.run(["make", "setup"], cwd=tmp_path / "c", env=environment)
    assert done.returncode == 0
