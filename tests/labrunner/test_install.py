"""Set-up with uv and with pip, on a small lock made of a wheel of our own; nothing downloads.

Both installers take the same way as with the real lock. The real one is installed by whichever of
the two is there each time these tests run; `test_real_lock_installs_with_pip` is the nightly twin.
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

from labrunner import install
from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

PROJECT = '[project]\nname = "small"\n[project.scripts]\nsmall = "small.cli:main"\n'
JARS = "import pathlib\npathlib.Path('jars').touch()\n"
Setup = Callable[..., subprocess.CompletedProcess[str]]


def make_wheel(folder: Path) -> str:
    """Write a wheel with one module and return its line for a lock."""
    path = folder / "pebble-1.0-py3-none-any.whl"
    files = {
        "pebble.py": "SHAPE = 'round'\n",
        "pebble-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pebble\nVersion: 1.0\n",
        "pebble-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = "".join(f"{name},{digest(text)},{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr("pebble-1.0.dist-info/RECORD", f"{record}pebble-1.0.dist-info/RECORD,,\n")
    return f"pebble==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def digest(text: str) -> str:
    raw = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={raw.decode().rstrip('=')}"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a checkout with the real install.py, a small lock and a wheel for it."""
    root = tmp_path / "checkout"
    (root / "labrunner").mkdir(parents=True)
    shutil.copy(ROOT / "labrunner" / "install.py", root / "labrunner")
    for package, text in (("labhelpers/jars.py", JARS), ("small/cli.py", "def main(): print(7)")):
        (root / package).parent.mkdir()
        (root / package).write_text(text)
        (root / package).with_name("__init__.py").touch()
    (root / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "wheels").mkdir()
    (root / "requirements.lock").write_text(make_wheel(tmp_path / "wheels"))
    return root


@pytest.fixture
def setup(small: Path) -> Setup:
    def run(installer: str, **more: str) -> subprocess.CompletedProcess[str]:
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
            [base, "-I", "labrunner/install.py"],
            cwd=small,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_setup_installs_the_lock_and_our_commands_once(
    small: Path, setup: Setup, installer: str
) -> None:
    first = setup(installer)
    assert first.returncode == 0, first.stderr
    assert f"with {installer}" in first.stdout
    asked = [small / ".venv" / "bin" / "python", "-c", "import pebble, small; print(pebble.SHAPE)"]
    assert subprocess.run(asked, capture_output=True, text=True).stdout == "round\n"
    command = subprocess.run([small / ".venv" / "bin" / "small"], capture_output=True, text=True)
    assert command.stdout == "7\n"
    assert (small / "jars").exists(), "the jars are prepared at set-up"
    shutil.rmtree(small.parent / "wheels")
    second = setup(installer)
    assert (second.returncode, second.stdout) == (0, ""), "a second call installs nothing"


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
