"""Make `.venv` from requirements.lock; the one program here that runs before anything is installed.

`make` calls it with the system's Python, so it uses the standard library only and parses on old
Pythons, to tell their owners so. It takes `uv` when it is there (`HOUSE_INSTALLER=pip` refuses it)
and `venv` + `pip` otherwise. A stamp in `.venv` holds the digest of what was asked for: a second
call installs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
NEEDED_BYTES = 4 * 1024**3
STAMP = "house-on-the-lake.stamp"


class SetupFailed(Exception):
    """Set-up cannot go on; the text says what was expected, what was found, what to type."""


def main(root: Path | None = None) -> int:
    """Bring `.venv` beside the lock up to date; return a shell's exit status."""
    root = root or Path(__file__).resolve().parent.parent
    venv = root / ".venv"
    try:
        use_newer_python()
        if "--here" in sys.argv:  # an environment that conda made from environment.yml
            link_packages(root, Path(sys.prefix))
            return 0
        digest = digest_of(root)
        if is_current(venv, digest):
            return 0
        with one_at_a_time(root):
            if not is_current(venv, digest):
                install(root, venv)
                (venv / STAMP).write_text(digest + "\n")
    except SetupFailed as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            print(f"make setup: {full(root)}", file=sys.stderr)
            return 1
        raise
    return 0


def use_newer_python() -> None:
    """Replace an old interpreter by a newer one of the PATH, or say which one is missing."""
    if sys.version_info >= OLDEST:
        return
    for minor in (13, 12, 11):
        newer = shutil.which(f"python3.{minor}")
        if newer:
            os.execv(newer, [newer, "-I", *sys.argv])
    found = ".".join(str(part) for part in sys.version_info[:3])
    raise SetupFailed(
        f"Expected Python 3.11 or newer, found {found} ({sys.executable}). "
        "Install a newer one, then type `make setup PYTHON=python3.11`."
    )


def digest_of(root: Path) -> str:
    """Return the digest of all that decides what `.venv` holds."""
    said = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml", "labrunner/install.py"):
        said.update((root / name).read_bytes())
    said.update(f"{sys.version_info[:3]} {root}".encode())
    return said.hexdigest()


def is_current(venv: Path, digest: str) -> bool:
    """Tell whether `.venv` was made from exactly this."""
    stamp = venv / STAMP
    return (
        stamp.is_file()
        and stamp.read_text().strip() == digest
        and (venv / "bin" / "python").exists()
    )


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Let a second `make` wait for the first one's installation."""
    (root / "build").mkdir(exist_ok=True)
    with (root / "build" / "setup.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(root: Path, venv: Path) -> None:
    """Install the lock into `.venv`, put our packages on its path, prepare the jars."""
    free = shutil.disk_usage(root).free
    if free < NEEDED_BYTES and not (venv / "bin" / "python").exists():
        raise SetupFailed(full(root))
    (venv / STAMP).unlink(missing_ok=True)
    uv = find_uv(venv)
    said = "uv" if uv else "pip"
    print(f"Installing the labs into {venv} with {said}; at first this downloads 1 GB.", flush=True)
    if uv:
        install_with_uv(uv, root, venv)
    else:
        install_with_pip(root, venv)
    link_packages(root, venv)
    run([str(venv / "bin" / "python"), "-m", "labhelpers.jars"], root)


def find_uv(venv: Path) -> str | None:
    """Return the uv of the PATH or of an earlier set-up, unless the user wants pip."""
    if os.environ.get("HOUSE_INSTALLER") == "pip":
        return None
    kept = venv / "bin" / "uv"
    return shutil.which("uv") or (str(kept) if kept.exists() else None)


def install_with_uv(uv: str, root: Path, venv: Path) -> None:
    """Install the lock with uv; never let uv fetch an interpreter."""
    os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")
    os.environ.setdefault("UV_HTTP_TIMEOUT", "180")
    os.environ["VIRTUAL_ENV"] = str(venv)
    if not (venv / "bin" / "python").exists():
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], root)
    run([uv, "pip", "sync", "--quiet", "--require-hashes", "requirements.lock"], root)


def install_with_pip(root: Path, venv: Path) -> None:
    """Install the lock with the pip that comes with Python."""
    python = str(venv / "bin" / "python")
    if not answers(python, "--version"):
        make_venv(root, venv)
    elif not answers(python, "-m", "pip", "--version"):
        answers(python, "-m", "ensurepip", "--default-pip")
    base = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
    run([*base, "--no-deps", "--require-hashes", "-r", "requirements.lock"], root)


def make_venv(root: Path, venv: Path) -> None:
    """Make an environment with Python's own module."""
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise SetupFailed(why_no_venv(root, made.stdout + made.stderr))


def answers(python: str, *arguments: str) -> bool:
    """Tell whether this interpreter exists and ends such a call well."""
    try:
        asked = subprocess.run([python, *arguments], capture_output=True, check=False)
    except OSError:
        return False
    return asked.returncode == 0


def why_no_venv(root: Path, said: str) -> str:
    """Turn what `python -m venv` said into one sentence."""
    if "No space left" in said:
        return full(root)
    last = (said.strip().splitlines() or ["nothing was said"])[-1]
    if "ensurepip" in said or "No module named venv" in said:
        last = "its venv or ensurepip module is missing"
    name = f"python3.{sys.version_info[1]}-venv"
    return (
        f"Expected {sys.executable} to make a virtual environment, but {last}. "
        f"On Debian or Ubuntu type `sudo apt install {name}`, then `make setup`."
    )


def full(root: Path) -> str:
    """Say that the disk is too full."""
    free = shutil.disk_usage(root).free / 1024**3
    return (
        f"Expected 4 GB of free disk in {root}, found {free:.1f} GB. "
        "Free some space (`du -sh ~/.cache` shows a likely place), then type `make setup`."
    )


def link_packages(root: Path, venv: Path) -> None:
    """Put the checkout on the path of `.venv`, and its commands into `.venv/bin`."""
    import tomllib

    python = venv / "bin" / "python"
    for site in (venv / "lib").glob("python3*/site-packages"):
        (site / "house_on_the_lake.pth").write_text(f"{root}\n")
    with (root / "pyproject.toml").open("rb") as file:
        commands = tomllib.load(file)["project"]["scripts"]
    for command, place in commands.items():
        module, function = place.split(":")
        script = venv / "bin" / command
        script.write_text(
            f"#!{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        script.chmod(0o755)


def run(command: list[str], root: Path) -> None:
    """Run an installer; on failure keep its words and add what to do."""
    done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        return
    if shutil.disk_usage(root).free < 100 * 1024**2:
        raise SetupFailed(full(root))
    if command[1:2] == ["-m"] and command[2:3] != ["pip"]:
        raise SetupFailed("Expected to make the jar for Spark; what to do stands above.")
    raise SetupFailed(
        f"Expected `{Path(command[0]).name}` to install requirements.lock; it stopped with status "
        f"{done.returncode} (its words are above). If it could not reach a package index, set your "
        "site's mirror (PIP_INDEX_URL or UV_DEFAULT_INDEX), then type `make setup`."
    )


if __name__ == "__main__":
    sys.exit(main())
