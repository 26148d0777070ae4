"""Make `.venv` from requirements.lock; the one program here that runs before anything is installed.

`labs setup <name>` calls it for the named environments: `environments/<name>.lock` is installed
into `.venv-<name>` beside `.venv`, or into the cache folder where the checkout may not be written.

`make` calls it with the system's Python, so it uses the standard library only and parses on old
Pythons, to tell their owners so. It takes `uv` when it is there (`HOUSE_INSTALLER=pip` refuses it);
otherwise pip installs the lock's `uv`, which installs the rest, and where that uv cannot, pip does.
A stamp in `.venv` holds the digest of what was asked for: a second call installs nothing.

The lock is one, but not everybody needs all of it: `--dev` adds the tools of who changes something
here, and `WORKSHOPS=core` leaves out what only other workshops need. What an environment has, it
keeps: a call that asks for less takes nothing away.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

OLDEST = (3, 11)
NEEDED_BYTES = 4 * 1024**3
NEEDED_BYTES_NAMED = 2 * 1024**3
STAMP = "house-on-the-lake.stamp"
CORE, DEV, HUB = "core", "dev", "hub"
SIZES = {CORE: 930, "logistics": 200, "mlops": 60, DEV: 70}
"""Megabytes that are downloaded at first; `core` is what every workshop needs."""


class SetupFailed(Exception):
    """Set-up cannot go on; the text says what was expected, what was found, what to type."""


def main(root: Path | None = None) -> int:
    """Bring `.venv` beside the lock up to date; return a shell's exit status."""
    root = root or Path(__file__).resolve().parent.parent
    try:
        use_newer_python()
        if "--here" in sys.argv:  # an environment that conda made from environment.yml
            link_packages(root, Path(sys.prefix))
            return 0
        ensure(root, root / ".venv", extras=asked(root, root / ".venv"))
    except SetupFailed as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            print(f"make setup: {full(root)}", file=sys.stderr)
            return 1
        raise
    return 0


def ensure(root: Path, venv: Path, name: str = "", extras: Collection[str] = ()) -> bool:
    """Bring an environment up to date; tell whether something had to be installed."""
    digest = digest_of(root, name)
    if is_current(venv, digest, extras):
        return False
    with one_at_a_time(venv.parent if name else root, name):
        if is_current(venv, digest, extras):
            return False
        extras = sorted({*extras, *extras_in(venv)})
        install(root, venv, name, extras)
        (venv / STAMP).write_text(" ".join([digest, CORE, *extras]) + "\n")
    if not name:
        compile_in_background(root, venv)
    return True


def compile_in_background(root: Path, venv: Path) -> None:
    """Start compiling what a lab would wait for (`labspark/warm.py`), and wait for nothing."""
    warm, none = [str(venv / "bin" / "python"), "-m", "labspark.warm"], subprocess.DEVNULL
    with (root / "build" / "compile.log").open("wb") as words:
        subprocess.Popen(
            warm, cwd=root, stdin=none, stdout=words, stderr=words, start_new_session=True
        )


def extras_of(root: Path) -> set[str]:
    """Return the names of the parts of the lock that not everybody needs."""
    import tomllib

    with (root / "pyproject.toml").open("rb") as file:
        return set(tomllib.load(file)["project"].get("optional-dependencies", {}))


def extras_in(venv: Path) -> set[str]:
    """Return the parts of the lock that an environment has."""
    return parts_in(venv) - {CORE}


def parts_in(venv: Path) -> set[str]:
    """Return the parts that set-up noted; none of an environment that has the whole lock.

    Set-up installed the whole lock before the lock had parts, and noted none.
    """
    try:
        return set((venv / STAMP).read_text().split()[1:])
    except OSError:
        return set()


def asked(root: Path, venv: Path) -> set[str]:
    """Return the parts of the lock that this call asks for; at first, those of all workshops."""
    known = extras_of(root)
    workshops = known - {DEV, HUB}
    named = set(os.environ.get("WORKSHOPS", "").replace(",", " ").split())
    is_whole = (venv / STAMP).exists() and not parts_in(venv)
    if "--dev" in sys.argv or is_whole:
        return known
    if not named and (venv / STAMP).exists():
        return extras_in(venv)
    return (workshops & named if named else workshops) | (known & {HUB})


def lock_of(name: str) -> str:
    """Return the path of an environment's lock below the checkout."""
    return f"environments/{name}.lock" if name else "requirements.lock"


def again(name: str) -> str:
    """Return what to type after the cause of a failure is mended."""
    return f"labs setup {name}" if name else "make setup"


def download_of(root: Path, name: str, extras: Collection[str] = ()) -> str:
    """Return how much an environment downloads at first: the head of its source says so."""
    if not name:
        total = sum(size for part, size in SIZES.items() if part == CORE or part in extras)
        return f"{total / 1000:.1f} GB"
    text = (root / "environments" / f"{name}.in").read_text("utf-8")
    for line in text.splitlines():
        if line.startswith("# download: "):
            return line[len("# download: ") :].strip()
    return "an unknown amount"


def more_of(extras: Collection[str]) -> str:
    """Return what these parts add to a download."""
    return f"{sum(SIZES.get(part, 0) for part in extras)} MB"


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


def digest_of(root: Path, name: str = "") -> str:
    """Return the digest of all that decides what an environment holds."""
    said = hashlib.sha256()
    sources = [lock_of(name), "labrunner/install.py"] + ([] if name else ["pyproject.toml"])
    for source in sorted(sources, reverse=True):
        said.update((root / source).read_bytes())
    said.update(f"{sys.version_info[:3]} {root}".encode())
    return said.hexdigest()


def is_current(venv: Path, digest: str, extras: Collection[str] = ()) -> bool:
    """Tell whether an environment was made from exactly this, and has these parts of it."""
    stamp = venv / STAMP
    return (
        stamp.is_file()
        and stamp.read_text().split()[:1] == [digest]
        and extras_in(venv) >= set(extras)
        and (venv / "bin" / "python").exists()
    )


@contextlib.contextmanager
def one_at_a_time(folder: Path, name: str = "") -> Iterator[None]:
    """Let a second call wait for the first one's installation."""
    (folder / "build").mkdir(parents=True, exist_ok=True)
    file_name = f"setup-{name}.lock" if name else "setup.lock"
    with (folder / "build" / file_name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(root: Path, venv: Path, name: str = "", extras: Collection[str] = ()) -> None:
    """Install a lock; the main one also gets our packages on its path, and the jars."""
    free = shutil.disk_usage(venv.parent).free
    needed = NEEDED_BYTES_NAMED if name else NEEDED_BYTES
    if free < needed and not (venv / "bin" / "python").exists():
        raise SetupFailed(full(venv.parent, name))
    (venv / STAMP).unlink(missing_ok=True)
    lock = lock_of(name) if name else part_of_lock(root, extras)
    found = find_uv(root / ".venv")
    uv = found or (None if name else uv_of_lock(root, venv))
    what, tool, size = name or "the labs", "uv" if uv else "pip", download_of(root, name, extras)
    print(f"Installing {what} into {venv} with {tool}; at first this downloads {size}.", flush=True)
    try:
        if uv:
            install_with_uv(uv, root, venv, lock, name)
    except SetupFailed as error:
        if found:  # the user's own: what it cannot do is for the user to know
            raise
        print(f"{error}\nNow pip installs it.", flush=True)
        uv = None
    if not uv:
        install_with_pip(root, venv, lock, name)
    if not name:
        link_packages(root, venv)
        compile_bytecode(root, venv)
        run([str(venv / "bin" / "python"), "-m", "labspark.jars"], root)


def part_of_lock(root: Path, extras: Collection[str]) -> str:
    """Write what these parts need, the lock's own lines, and return the path below the checkout."""
    tool = [sys.executable, "-I", "labapps/requirements.py", "pyproject.toml", lock_of("")]
    said = subprocess.run([*tool, *sorted(extras)], cwd=root, capture_output=True, text=True)
    if said.returncode != 0:
        raise SetupFailed(f"Expected to read {lock_of('')}; {said.stderr.strip()[-400:]}")
    path = Path("build/installed.lock")
    (root / path).write_text(said.stdout)
    return str(path)


def find_uv(venv: Path) -> str | None:
    """Return the uv of the PATH or of an earlier set-up, unless the user wants pip."""
    if os.environ.get("HOUSE_INSTALLER") == "pip":
        return None
    kept = venv / "bin" / "uv"
    return shutil.which("uv") or (str(kept) if kept.exists() else None)


def uv_of_lock(root: Path, venv: Path) -> str | None:
    """Install the lock's uv with pip; None where only pip knows the index, or it cannot."""
    blocks = re.split(r"\n(?=\S)", (root / lock_of("")).read_text("utf-8"))
    lines = [block for block in blocks if block.startswith("uv==")]
    is_refused = os.environ.get("HOUSE_INSTALLER") == "pip"
    if is_refused or not lines or only_pip_has_an_index(python_with_pip(root, venv)):
        return None
    lock = Path("build/uv.lock")
    (root / lock).write_text(lines[0] + "\n")
    with contextlib.suppress(SetupFailed):
        install_with_pip(root, venv, str(lock))
    uv = str(venv / "bin" / "uv")
    return uv if answers(uv, "--version") else None


def only_pip_has_an_index(python: str) -> bool:
    """Tell whether a site's mirror is set for pip and not for uv, which does not read that."""
    if any(os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_NO_INDEX")):
        return False
    known = [python, "-m", "pip", "config", "list"]
    said = subprocess.run(known, capture_output=True, text=True, check=False).stdout
    return bool(re.search(r"^\S+\.(index-url|no-index)=", said, re.MULTILINE))


def install_with_uv(uv: str, root: Path, venv: Path, lock: str, name: str = "") -> None:
    """Install the lock with uv; never let uv fetch an interpreter."""
    mine = {"UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_TIMEOUT": "180"}
    environment = {**mine, **os.environ, "VIRTUAL_ENV": str(venv)}
    if not (venv / "bin" / "python").exists():
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)]
        run(make, root, name, environment)
    # Pods run a named environment, and may not write bytecode into it: each start would compile.
    compiled = ["--compile-bytecode"] if name else []
    sync = [uv, "pip", "sync", *quiet(), "--require-hashes", *compiled, lock]
    run(sync, root, name, environment)


def install_with_pip(root: Path, venv: Path, lock: str, name: str = "") -> None:
    """Install the lock with the pip that comes with Python."""
    python = python_with_pip(root, venv, name)
    base = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *quiet()]
    run([*base, "--no-deps", "--require-hashes", "-r", lock], root, name)


def python_with_pip(root: Path, venv: Path, name: str = "") -> str:
    """Return the interpreter of the environment, made if need be, with its own pip."""
    python = str(venv / "bin" / "python")
    if not answers(python, "--version"):
        make_venv(root, venv, name)
    elif not answers(python, "-m", "pip", "--version"):
        answers(python, "-m", "ensurepip", "--default-pip")
    return python


def quiet() -> list[str]:
    """Let an installer show packages and bytes on a terminal, and only failures elsewhere."""
    return [] if sys.stdout.isatty() else ["--quiet"]


def make_venv(root: Path, venv: Path, name: str = "") -> None:
    """Make an environment with Python's own module."""
    make = [sys.executable, "-m", "venv", "--clear", str(venv)]
    made = subprocess.run(make, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SetupFailed(why_no_venv(root, made.stdout + made.stderr, name))


def answers(python: str, *arguments: str) -> bool:
    """Tell whether this interpreter exists and ends such a call well."""
    with contextlib.suppress(OSError):
        done = subprocess.run([python, *arguments], capture_output=True, check=False)
        return done.returncode == 0
    return False


def why_no_venv(root: Path, said: str, environment: str = "") -> str:
    """Turn what `python -m venv` said into one sentence."""
    if "No space left" in said:
        return full(root, environment)
    last = (said.strip().splitlines() or ["nothing was said"])[-1]
    if "ensurepip" in said or "No module named venv" in said:
        last = "its venv or ensurepip module is missing"
    name = f"python3.{sys.version_info[1]}-venv"
    return (
        f"Expected {sys.executable} to make a virtual environment, but {last}. "
        f"On Debian or Ubuntu type `sudo apt install {name}`, then `{again(environment)}`."
    )


def full(folder: Path, name: str = "") -> str:
    """Say that the disk is too full."""
    free = shutil.disk_usage(folder).free / 1024**3
    return (
        f"Expected {2 if name else 4} GB of free disk in {folder}, found {free:.1f} GB. "
        f"Free some space (`du -sh ~/.cache` shows a likely place), then type `{again(name)}`."
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


def compile_bytecode(root: Path, venv: Path) -> None:
    """Compile what is installed, and our packages: pods, and many containers, write no bytecode."""
    ours = sorted(str(file.parent) for file in root.glob("lab*/__init__.py"))
    sites = [str(site) for site in (venv / "lib").glob("python3*/site-packages")]
    quick = ["-m", "compileall", "-qq", "-j", "0", "-x", "site-packages/.*/tests?/"]
    # What cannot be compiled, such as a template of a package, is no program either.
    answers(str(venv / "bin" / "python"), *quick, *sites, *ours)


def run(
    command: list[str], root: Path, name: str = "", environment: dict[str, str] | None = None
) -> None:
    """Run an installer; on failure keep its words and add what to do."""
    done = subprocess.run(command, cwd=root, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        return
    if shutil.disk_usage(root).free < 100 * 1024**2:
        raise SetupFailed(full(root, name))
    if command[1:2] == ["-m"] and command[2:3] != ["pip"]:
        raise SetupFailed("Expected to make the jar for Spark; what to do stands above.")
    raise SetupFailed(
        f"Expected `{Path(command[0]).name}` to install {lock_of(name)}; it stopped with status "
        f"{done.returncode} (its words are above). If it could not reach a package index, set your "
        f"site's mirror (PIP_INDEX_URL or UV_DEFAULT_INDEX), then type `{again(name)}`."
    )


if __name__ == "__main__":
    sys.exit(main())
