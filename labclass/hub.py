"""Open a class's hub: read the class folder, look at the host, hand over to JupyterHub.

`deploy/jupyterhub/jupyterhub_config.py` asks `open_class` for everything it does not say itself.
Whatever is wrong is said here in a sentence, before JupyterHub starts anything.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labclass import accounts, certificate, collection, isolation, leftovers, share
from labclass.accounts import Person
from labclass.certificate import Tls
from labclass.leftovers import sweep
from labrunner import files
from labrunner.errors import LabError

__all__ = ["HubRefused", "Room", "open_class", "sweep"]

CLASS = "LABS_CLASS"
TEMPLATES = Path(__file__).with_name("templates") / "hub"
_INNER = ("hub", "proxy", "attendance")
_held: list[int] = []  # the lock of this process's class; closing it would open the class


class HubRefused(LabError):
    """The hub cannot start, or would not be safe."""


@dataclass(frozen=True)
class Room:
    """What the hub of one class is given."""

    folder: Path
    people: list[Person]
    bind: str
    port: int
    url: str
    ports: dict[str, int]
    tls: Tls | None
    is_confined: bool

    @property
    def notes(self) -> list[str]:
        """Return what the instructor should read before learners come."""
        weak = isolation.weakness() if self.is_confined else isolation.OPEN
        bounds = share.explain(share.most_memory(len(self.learners)))
        return [note for note in (weak, bounds, self.tls.advice if self.tls else "") if note]

    @property
    def state(self) -> Path:
        """Return the folder of the hub's own files."""
        return self.folder / "hub"

    @property
    def learners(self) -> list[str]:
        """Return the learners' names."""
        return [person.name for person in self.people if not person.is_instructor]

    @property
    def instructors(self) -> list[str]:
        """Return the names of who leads the class."""
        return [person.name for person in self.people if person.is_instructor]

    @property
    def collection(self) -> str:
        """Return the address of the git repository of the labs: this checkout's, or a site's."""
        return os.environ.get("LABS_COLLECTION") or collection.of_class(self.folder)

    @property
    def attendance_url(self) -> str:
        """Return where the attendance service listens."""
        return f"http://127.0.0.1:{self.ports['attendance']}"

    def inner(self, part: str) -> str:
        """Return the address of a part that only this host reaches."""
        return f"http://127.0.0.1:{self.ports[part]}"

    def service(self, *words: str) -> list[str]:
        """Return the command of a service that ends with the hub, however the hub ends."""
        return [
            *(sys.executable, "-m", "labclass.warden", "--with-parent", "--"),
            *(sys.executable, "-m", *words),
        ]

    @property
    def mark(self) -> dict[str, str]:
        """Return the variable by which the hub's proxy and services are found again."""
        return leftovers.mark("hub", self.folder)

    def secret(self, name: str) -> str:
        """Return a secret of the hub's own, the same at every start."""
        file = self.state / name
        if not file.exists():
            files.write_private(file, secrets.token_hex(32))
        return file.read_text("utf-8")


def open_class(environment: Mapping[str, str] = os.environ) -> Room:
    """Prepare to serve the class that LABS_CLASS names; raise a LabError when that is not safe."""
    folder = _folder(environment)
    people = accounts.read(folder / "credentials.csv")
    wanted = _read(folder / "class.json").get("hub") or {}
    url = str(wanted.get("url") or "http://127.0.0.1:8000")
    bind, port = _address(url, wanted)
    state = folder / "hub"
    for private in (state, folder / "homes"):
        private.mkdir(mode=0o700, exist_ok=True)
    _hold(state / "lock", folder)
    sweep(folder)
    (state / "proxy.pid").unlink(missing_ok=True)  # JupyterHub would kill whoever has that number
    _require_free(bind, port)
    is_confined = isolation.is_wanted(environment)
    isolation.view(folder)
    collection.publish(folder / "collection.git")
    return Room(
        folder=folder,
        people=people,
        bind=bind,
        port=port,
        url=url,
        ports=_ports(state / "ports.json", folder, port),
        tls=_tls(state / "tls", bind, url, wanted),
        is_confined=is_confined,
    )


def _folder(environment: Mapping[str, str]) -> Path:
    named = environment.get(CLASS)
    if not named:
        raise HubRefused(
            f"Expected the folder of a class in {CLASS}, found nothing. Type "
            "`labs class --students 12`: it prepares a class and starts its hub."
        )
    folder = Path(named).expanduser().absolute()
    if not (folder / "class.json").is_file():
        raise HubRefused(
            f"Expected a class in {folder} ({CLASS}), found no class.json there. Type `labs class "
            f"--folder {folder}`, or correct {CLASS}."
        )
    return folder.resolve()


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise HubRefused(
            f"Expected the settings of a class in {file}, found: {error}. Type `labs class` again."
        ) from error
    return found if isinstance(found, dict) else {}


def _address(url: str, wanted: Mapping[str, Any]) -> tuple[str, int]:
    """Return where to listen; refuse passwords that would travel a network unencrypted."""
    parts = urlsplit(url)
    bind = str(wanted.get("bind") or parts.hostname or "127.0.0.1")
    port = int(wanted.get("port") or parts.port or (443 if parts.scheme == "https" else 80))
    if parts.scheme != "https" and not _is_loopback(bind):
        raise HubRefused(
            f"Expected https for a hub that listens on {bind}, found {url}: passwords and "
            "notebooks would cross the network for everybody to read. Write https in hub.url of "
            "class.json (the hub issues a certificate when you have none), or listen on 127.0.0.1."
        )
    return bind, port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(place: Path, bind: str, url: str, wanted: Mapping[str, Any]) -> Tls | None:
    parts = urlsplit(url)
    if parts.scheme != "https":
        return None
    given, key = wanted.get("certificate"), wanted.get("key")
    if bool(given) != bool(key):
        raise HubRefused(
            "Expected a certificate and its key in class.json, found only one of them."
        )
    if given and key:
        for file in map(Path, (given, key)):
            if not os.access(file, os.R_OK):
                raise HubRefused(f"Expected a readable file {file} (class.json), found none.")
        return Tls(Path(given), Path(key))
    return certificate.provide(place, certificate.names_of(bind, parts.hostname or bind))


def _hold(lock: Path, folder: Path) -> None:
    """Keep a second hub out of this class."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 20, 0).decode() or "another one"
        os.close(handle)
        raise HubRefused(
            f"Expected nobody to run the hub of {folder}, found process {holder}. Use that hub, or "
            f"end it first: kill {holder}"
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    _held.append(handle)


def _require_free(bind: str, port: int) -> None:
    try:
        _listen(bind, port)
    except OSError as error:
        raise HubRefused(
            f"Expected port {port} of {bind} to be free, found: {error.strerror}. Another program "
            f"listens there (`ss -ltnp`), or you may not. Choose another: `labs class --port "
            f"{port + 1}`."
        ) from error


def _listen(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("" if host == "*" else host, port))
        return int(listener.getsockname()[1])


def _ports(file: Path, folder: Path, public: int) -> dict[str, int]:
    """Choose the ports inside this host, the same at every start: servers that run know them."""
    known = _read(file) if file.exists() else {}
    chosen: dict[str, int] = {}
    for part in _INNER:
        try:
            found = _listen("127.0.0.1", int(known.get(part, 0)))
        except OSError:
            found = _listen("127.0.0.1", 0)
        while found in {public, *chosen.values()}:  # the kernel may give a port out twice
            found = _listen("127.0.0.1", 0)
        chosen[part] = found
    if known and chosen != known:  # servers of before would look for the hub in vain
        sweep(folder, servers=True)
    files.write_private(file, json.dumps(chosen))
    return chosen
