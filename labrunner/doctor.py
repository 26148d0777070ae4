"""Check all that a lab needs on this machine; say what to do about each thing that is missing."""

from __future__ import annotations

import locale
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labrunner import environments, install, sandbox
from labspark import jars, java, place
from labspark.errors import SparkError

DISK_GB = 3
MEMORY_GB = 3.5
OLDEST = (3, 11)


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at: what was expected, what was found, what to do."""

    name: str
    ok: bool
    found: str
    cure: str = ""
    optional: bool = False


def examine() -> Iterator[Diagnosis]:
    """Look at everything, one after the other."""
    for look in CHECKS:
        yield look()
    root = Path(__file__).resolve().parent.parent
    yield packages(root)
    yield from named_environments(root)


def packages(root: Path) -> Diagnosis:
    """The packages of the workshops that have some of their own."""
    missing = environments.missing_packages(root, install.extras_of(root) - {install.DEV})
    said = f"of all workshops but {', '.join(missing)}" if missing else "of all workshops"
    cure = f"Type `make setup WORKSHOPS={','.join(missing)}` when you come to their labs."
    return Diagnosis("Packages", not missing, said, cure, optional=True)


def named_environments(root: Path) -> Iterator[Diagnosis]:
    """The named environments: each is optional until a lab or an application needs it."""
    for name in environments.names(root):
        found = environments.find(root, name)
        cure = f"Type `labs setup {name}` when a lab or an application asks for it."
        yield Diagnosis(name.capitalize(), found.is_installed, found.state, cure, optional=True)


def python() -> Diagnosis:
    """Python 3.11 or newer, the one of this environment."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    is_ok = sys.version_info >= OLDEST
    return Diagnosis(
        "Python", is_ok, f"{found} in {sys.prefix}", "Type `make setup PYTHON=python3.11`."
    )


def java_runtime() -> Diagnosis:
    """A Java that Spark can run on."""
    try:
        home = java.find_java()
        return Diagnosis("Java", True, f"{java.java_version(home)} in {home}")
    except SparkError as error:
        return Diagnosis("Java", False, str(error), "Type `make setup`.")


def jar() -> Diagnosis:
    """The jar with Delta and Iceberg."""
    if os.environ.get("SPARK_DELTA_COORDINATES"):
        return Diagnosis("Jars", True, "Spark resolves SPARK_DELTA_COORDINATES itself")
    try:
        place = jars.lakehouse_jar()
        return Diagnosis("Jars", True, f"{place} ({place.stat().st_size / 2**20:.0f} MB)")
    except (SparkError, OSError) as error:
        return Diagnosis("Jars", False, str(error), "Type `make setup`.")


def ports() -> Diagnosis:
    """Sockets on the loopback address, a second loopback address included."""
    try:
        _listen("127.0.0.1")
    except OSError as error:
        cure = "Ask who restricts sockets on this machine."
        return Diagnosis("Ports", False, f"cannot listen on 127.0.0.1: {error.strerror}", cure)
    try:
        _listen("127.244.0.1")
    except OSError:
        found = (
            "127.0.0.1 alone: pods share it, and Spark clusters, Airflow and PostgreSQL do not run"
        )
        return Diagnosis("Ports", True, found)
    return Diagnosis("Ports", True, "free ports on the loopback addresses")


def _listen(address: str) -> None:
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()


def disk() -> Diagnosis:
    """Room for tables and for what Spark spills."""
    folders = {Path(tempfile.gettempdir()), _existing(place.home())}
    free, where = min((shutil.disk_usage(folder).free / 2**30, folder) for folder in folders)
    cure = f"Free some space in {where}, or set TMPDIR and LABS_HOME to a bigger disk."
    return Diagnosis("Disk", free >= DISK_GB, f"{free:.1f} GB free in {where}", cure)


def memory() -> Diagnosis:
    """Room for Spark, a notebook and the platform."""
    import psutil

    free = psutil.virtual_memory().available / 2**30
    cure = f"The labs want {MEMORY_GB} GB: close other programs, or run labs one at a time."
    return Diagnosis("Memory", free >= MEMORY_GB, f"{free:.1f} GB available", cure)


def words() -> Diagnosis:
    """A locale in which Python reads and writes UTF-8."""
    found = locale.getpreferredencoding(False)
    is_ok = found.lower().replace("-", "") == "utf8"
    return Diagnosis("Locale", is_ok, found, "Type `export PYTHONUTF8=1` (make does it for you).")


def home() -> Diagnosis:
    """A home that can be written."""
    folder = place.home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Diagnosis("Home", True, str(folder))
    except OSError as error:
        cure = "Set LABS_HOME to a folder that you may write to; progress and tables go there."
        return Diagnosis("Home", False, f"{folder}: {error.strerror}", cure)


def platform() -> Diagnosis:
    """A platform: the configured one, or the sandbox's program."""
    if sandbox.is_configured():
        return Diagnosis("Platform", True, os.environ[sandbox.CONFIGURED])
    found = sandbox.command()
    said = f"none configured; {found} starts one" if found else "none, and no labsandbox program"
    return Diagnosis("Platform", found is not None, said, "Type `make setup`.")


def kubectl() -> Diagnosis:
    """kubectl, which no lab depends on."""
    found = shutil.which("kubectl")
    cure = "Labs show kubectl beside their own code; without it you read those lines only."
    return Diagnosis("kubectl", found is not None, found or "not there", cure, optional=True)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


CHECKS: tuple[Callable[[], Diagnosis], ...] = (
    python,
    java_runtime,
    jar,
    ports,
    disk,
    memory,
    words,
    home,
    platform,
    kubectl,
)
