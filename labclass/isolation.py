"""What a learner's programs may read and write: pure lists for the confinement.

All learners run under the Unix user of the hub, so file modes cannot keep them apart; Landlock
does, with the program `labsandbox.node.landlock`. It is an allow list: what is not named (another
home, the class folder, the sandbox's state, the hub's database) cannot even be read. The folder of
a class often lies inside the checkout, so the checkout is not readable as a whole: a view of it,
links to its parts, is what learners import from.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from labrunner.errors import LabError

ROOT = Path(__file__).resolve().parents[1]
ACCEPT = "LABS_CLASS_WITHOUT_ISOLATION"
SIGNALS = 6  # the version of Landlock that also keeps signals and abstract sockets apart

OPEN = "Nothing keeps the learners apart: everybody can read everything, passwords included."

_SYSTEM = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/proc",
    "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm", "/run/systemd/resolve",
    "/var/lib/ca-certificates",
]  # fmt: skip
_DEVICES = [
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
]
# A learner's settings that name what lies outside the home.
_READ = ("EZMERAL_CA", "GATEWAY_CA", "CURL_HOME", "PYTHONPATH", "LABS_JAVA_HOME", "JAVA_HOME")
_WRITE = ("PROJECT_REPO",)
_CHECKOUT = (
    "labhelpers", "labdata", "labspark", "labshow", "labkube", "labrunner", "labpanel",
    "labclass", "labsandbox", "labapps", "catalog", "datasets", "notebooks", "Pictures", "deploy",
    "environments", "labs.toml", "pyproject.toml", "requirements.lock",
)  # fmt: skip


class NoIsolation(LabError):
    """The host cannot keep learners apart, or a setting would let one into everything."""


def version() -> int:
    """Return the version of Landlock this kernel offers, 0 for none."""
    done = subprocess.run(
        [sys.executable, "-m", "labsandbox.node.landlock", "--abi"],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(done.stdout) if done.returncode == 0 else 0


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether learners are confined; refuse to go on when they cannot be."""
    if environment.get(ACCEPT) == "accepted":
        return False
    if not version():
        raise NoIsolation(
            "Expected a kernel with Landlock (Linux 5.13 or newer, `landlock` among the boot "
            "option lsm=), found none: every learner could read every other's files and passwords. "
            f"Use another host, or accept that for people who trust each other: {ACCEPT}=accepted."
        )
    return True


def weakness() -> str:
    """Say what this kernel's Landlock cannot do yet; nothing when it does all that we use."""
    found = version()
    if found >= SIGNALS:
        return ""
    return (
        f"This kernel's Landlock has version {found}; from {SIGNALS} on (Linux 6.12) learners also "
        "cannot end each other's programs. Files and passwords are kept apart in either case."
    )


def view(folder: Path, root: Path = ROOT) -> Path:
    """Make a folder that looks like the checkout and holds only what learners may see of it."""
    place = folder / "checkout"
    place.mkdir(mode=0o700, exist_ok=True)
    for name in _CHECKOUT:
        link, target = place / name, root / name
        if link.is_symlink() and os.readlink(link) != str(target):
            link.unlink()
        if target.exists() and not link.is_symlink():
            link.symlink_to(target)
    return place


def readable(folder: Path, settings: Mapping[str, str], extra: Iterable[Path]) -> list[str]:
    """Return the trees a learner's programs may read."""
    place = view(folder)
    interpreter = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    named = [word for name in _READ for word in settings.get(name, "").split(os.pathsep) if word]
    paths = [*_SYSTEM, *interpreter, *named, str(place), *map(os.path.realpath, place.iterdir())]
    return [*public(Path("/etc")), *_checked(folder, [*paths, *map(str, extra)])]


def writable(folder: Path, home: Path, settings: Mapping[str, str]) -> list[str]:
    """Return the trees a learner's programs may write."""
    named = [settings[name] for name in _WRITE if settings.get(name)]
    return [*_DEVICES, *_checked(folder, [str(home), *named])]


def public(tree: Path) -> Iterator[str]:
    """Name the largest trees in which everybody may read everything.

    For a hub that runs as root, this leaves out what root alone may read; for anybody else it
    leaves out nothing they could read.
    """
    inside, is_public = [], True
    for entry in sorted(tree.iterdir()):
        try:
            mode = entry.stat().st_mode
        except OSError:
            continue  # a link to nowhere
        if not mode & stat.S_IROTH:
            is_public = False
        elif stat.S_ISDIR(mode) and not entry.is_symlink():
            found = list(public(entry))
            is_public = is_public and found == [str(entry)]
            inside += found
        else:
            inside.append(str(entry))
    yield from [str(tree)] if is_public else inside


def _checked(folder: Path, paths: Iterable[str]) -> list[str]:
    """Refuse a path that would open the class folder, or its private parts, to a learner."""
    private = [
        os.path.realpath(folder / name)
        for name in (
            *("hub", "homes", "learners", "attendance", "platform"),
            *("class.json", "credentials.csv", "cards.html"),
        )
    ]
    checked = sorted({os.path.realpath(path) for path in paths})
    for path in checked:
        opened = next((one for one in private if Path(one).is_relative_to(path)), None)
        if opened is not None:
            raise NoIsolation(
                f"Expected nothing private below what learners may use, found {opened} below "
                f"{path}. Choose another place for the class: `labs class --folder`."
            )
    return checked


def command(read: Iterable[str], write: Iterable[str]) -> list[str]:
    """Return the words that go before a command to confine it."""
    words = [sys.executable, "-m", "labsandbox.node.landlock", "--tight"]
    words += [f"--read={path}" for path in read]
    words += [f"--write={path}" for path in write]
    return [*words, "--"]
