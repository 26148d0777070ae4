"""The platform under attack: tenants' users, and what must stay as it is.

Started as people start it, with `labsandbox up`. Attackers hold what a tenant's member holds: the
kubeconfig of a session. What they must not reach lies outside the state folder (the home of the
user who runs the platform) and inside it (keys, passwords, another tenant's files); whether it is
as it was is looked up here, not taken from the attackers' reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import secrets
import socket
import stat
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests
import yaml

from labclass.front import MEMBER, FrontDoor
from labsandbox.client import ApiError, Client
from labsandbox.client.resources import EVENTS, PODS
from tests.sandbox.platform.program import environment, labsandbox, until

Object = dict[str, Any]
T = TypeVar("T")

TENANTS = {"student1": "K8sMLTenant", "auditor": "K8sAuditTenant"}
LEARNER = "zoe"
"""Somebody of a class with a tenant of their own, made as `labs class` makes it."""
_PLACES = {**TENANTS, LEARNER: f"class-{LEARNER}"}
IMAGE = "python:3.12"
_SECONDS = 300
_STILL = ("admin.conf", "pki/ca.key", "node/keeper.key", "credentials.csv")


@dataclass
class Tenant:
    """One tenant, as one of its members sees it."""

    user: str
    namespace: str
    client: Client
    config: Path


@dataclass
class Count:
    """How many tries were made at a door, and which succeeded."""

    door: str
    tries: int = 0
    successes: list[str] = field(default_factory=list)

    def add(self, name: str, is_success: bool) -> None:
        self.tries += 1
        if is_success:
            self.successes.append(name)


class Arena:
    """A running platform, its tenants, and what lies outside of them."""

    def __init__(self, folder: Path) -> None:
        self.state, self.home = folder / "state", folder / "home"
        self.secret = f"secret-{secrets.token_hex(12)}"
        self.counts: list[Count] = []
        self.tenants: dict[str, Tenant] = {}
        self.sockets: list[str] = []
        self.visits: list[str] = []
        self._numbers = itertools.count(1)
        self._runner = asyncio.Runner()
        self._open: list[socket.socket] = []

    def start(self) -> Arena:
        self._plant()
        labsandbox("up", "--state", str(self.state), "--detach", "--students", "2")
        self.environment = environment(self.state)
        self._door, self._ca = self.environment["EZMERAL_URL"], self.environment["EZMERAL_CA"]
        self._passwords = Path(self.environment["EZMERAL_PASSWORD_FILE"]).parent
        self._enrol(LEARNER)
        for user in _PLACES:
            text, _ = self._sign_in(user)
            file = self.state.parent / f"{user}.conf"
            file.write_text(text)
            found = re.search(r"namespace: (\S+)", text)
            assert found, text
            self.tenants[user] = Tenant(user, found[1], Client.from_kubeconfig(file), file)
            repository = self.state / "projects" / self.tenants[user].namespace
            (repository / "thesis").write_text(f"thesis-{secrets.token_hex(12)} of {user}")
        return self

    def stop(self) -> None:
        for tenant in self.tenants.values():
            self.run(tenant.client.close())
        self.run(asyncio.sleep(0.2))  # pause: a TLS transport closes its socket a few turns later
        self._runner.close()
        for listener in self._open:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        labsandbox("down", "--state", str(self.state))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def _plant(self) -> None:
        for name, mode in {".ssh/id_ed25519": 0o600, "notes": 0o644, "work/report": 0o640}.items():
            place = self.home / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{self.secret} of the host's user")
            place.chmod(mode)
        (self.home / "run").mkdir()
        for name, kind in {"agent": socket.SOCK_STREAM, "notify": socket.SOCK_DGRAM}.items():
            self._listen(str(self.home / "run" / name), kind)
        self._listen(f"\0attack-{secrets.token_hex(4)}", socket.SOCK_STREAM)

    def _listen(self, path: str, kind: socket.SocketKind) -> None:
        """Be a socket of the host's user: an agent that answers, or one that takes datagrams."""
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(path)
        self.sockets.append(path)
        self._open.append(listener)
        if kind is socket.SOCK_STREAM:
            listener.listen()
        threading.Thread(target=self._serve, args=(listener, kind), daemon=True).start()

    def _serve(self, listener: socket.socket, kind: socket.SocketKind) -> None:
        while True:
            try:
                if kind is socket.SOCK_DGRAM:
                    if not listener.recv(100):
                        return  # shut down
                    self.visits.append("datagram")
                    continue
                visitor, _ = listener.accept()
            except OSError:
                return
            self.visits.append("stream")
            with visitor, contextlib.suppress(OSError):
                visitor.sendall(self.secret.encode())

    def _enrol(self, user: str) -> None:
        """Make a learner of a class, with a tenant of their own."""
        (self._passwords / user).write_text(secrets.token_urlsafe(12))
        administrator = (self._passwords / "admin").read_text()
        with FrontDoor(self._door, self._ca, "admin", administrator) as door:
            door.add_tenant(_PLACES[user], "A class of the labs")
            address = door.add_user(user, (self._passwords / user).read_text())
            door.assign(address, door.ready_tenant(_PLACES[user]), door.roles()[MEMBER])

    def _sign_in(self, user: str) -> tuple[str, dict[str, str]]:
        """Return the kubeconfig of a new session, and the header that names the session."""
        password = (self._passwords / user).read_text()
        body = {"name": user, "password": password, "tenant_name": _PLACES[user]}
        url = f"{self._door}/api/v2"
        begun = requests.post(f"{url}/session", json=body, verify=self._ca, timeout=30)
        session = {"X-BDS-SESSION": begun.headers["Location"]}
        found = requests.get(
            f"{url}/k8skubeconfig?token=true", headers=session, verify=self._ca, timeout=30
        )
        return found.text, session

    def ended_token(self, user: str) -> str:
        """Return the token of a session that has been ended, when no answer to it is cached."""
        text, session = self._sign_in(user)
        token = str(yaml.safe_load(text)["users"][0]["user"]["token"])
        url = f"{self._door}{session['X-BDS-SESSION'].replace('/v1/', '/v2/')}"
        requests.delete(url, headers=session, verify=self._ca, timeout=30).raise_for_status()
        server = yaml.safe_load(text)["clusters"][0]["cluster"]["server"]
        headers = {"Authorization": f"Bearer {token}"}

        def is_refused() -> bool:
            url = f"{server}/api/v1/namespaces"
            return (
                requests.get(url, headers=headers, verify=self._ca, timeout=30).status_code == 401
            )

        until("the ended session to be refused", is_refused)
        return token

    # what must stay as it is

    def snapshot(self) -> dict[str, tuple[Any, ...]]:
        """Return everything about the host user's files that an attack could change."""
        found: dict[str, tuple[Any, ...]] = {}
        for path in (self.state / name for name in _STILL):
            with contextlib.suppress(OSError):  # What is gone differs from what was there.
                found[str(path)] = (os.lstat(path).st_mode, path.read_bytes())
        for folder, folders, files in os.walk(self.home):
            for name in [".", *folders, *files]:
                path = Path(os.path.normpath(os.path.join(folder, name)))
                status = path.lstat()
                kept = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
                content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
                found[str(path)] = (*kept, content, tuple(os.listxattr(path)))
        return found

    def changes(self, before: dict[str, tuple[Any, ...]]) -> list[str]:
        """Return what differs from an earlier snapshot."""
        after = self.snapshot()
        return [
            path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
        ]

    def other(self, attacker: Tenant) -> Tenant:
        """Return a tenant that is not the attacker's."""
        return next(tenant for tenant in self.tenants.values() if tenant is not attacker)

    def targets(self, attacker: Tenant) -> list[str]:
        """Return files that a tenant's member must neither read nor write."""
        other = self.other(attacker)
        found = [self.state / name for name in [*_STILL, "apiserver.db"]]
        found += sorted((self.state / "ezmeral" / "passwords").iterdir())[:1]
        found += [self.state / "projects" / other.namespace / "thesis"]
        found += [self.home / ".ssh/id_ed25519", self.home / "notes", self.home / "work/report"]
        return [str(path) for path in [*found, Path("/etc/shadow")] if path.exists()]

    def known(self, paths: list[str]) -> list[str]:
        """Return what reading one of these files would show."""
        return [self.secret, *filter(None, map(_beginning, paths))]

    # pods

    def name(self, prefix: str) -> str:
        return f"{prefix}-{next(self._numbers)}"

    def play(self, tenant: Tenant, pods: list[Object]) -> dict[str, str]:
        """Run pods to their end, or to what keeps them from running; return all they could show."""
        return self.run(self._play(tenant, pods))

    async def _play(self, tenant: Tenant, pods: list[Object]) -> dict[str, str]:
        return dict(await asyncio.gather(*(self._play_one(tenant, pod) for pod in pods)))

    async def _play_one(self, tenant: Tenant, pod: Object) -> tuple[str, str]:
        name, client, namespace = pod["metadata"]["name"], tenant.client, tenant.namespace
        try:
            await client.create(PODS, pod, namespace)
        except ApiError as error:
            if error.status not in (400, 403, 422):
                raise
            return name, f"refused: {error}"
        found, texts = await self._settle(client, namespace, name)
        texts.append(json.dumps(found["status"]))
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
            with contextlib.suppress(ApiError):
                params = {"container": container["name"]}
                texts.append(str(await client.request("GET", path, params=params)))
        with contextlib.suppress(ApiError):
            await client.delete(PODS, name, namespace, grace=0)
        return name, "\n".join(texts)

    async def _settle(self, client: Client, namespace: str, name: str) -> tuple[Object, list[str]]:
        """Wait until a pod has ended, or until it is known what keeps it from it."""
        async with asyncio.timeout(_SECONDS):
            while True:
                events = await client.list(EVENTS, namespace, fields=f"involvedObject.name={name}")
                found = await client.get(PODS, name, namespace)
                is_kept = any(event["reason"] == "FailedMount" for event in events)
                if is_kept or is_settled(found.get("status") or {}):
                    return found, [event["message"] for event in events]
                await asyncio.sleep(0.1)


def is_settled(status: Object) -> bool:
    """Tell whether a pod's containers have ended, or wait for something that will not come."""
    inits, mains = (status.get(f"{word}Statuses", []) for word in ("initContainer", "container"))
    is_stuck = any(_is_waiting(one) for one in inits)
    return is_stuck or (
        bool(mains) and all(_is_waiting(one) or "terminated" in one["state"] for one in mains)
    )


def _is_waiting(container: Object) -> bool:
    reason = (container.get("state") or {}).get("waiting", {}).get("reason")
    return reason in ("CreateContainerConfigError", "CrashLoopBackOff", "RunContainerError")


def _beginning(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text = file.read(24)
    except OSError:
        return ""
    # A database and a kubeconfig begin like any other: their first bytes are no secret.
    is_common = len(text) < 8 or text.startswith((b"SQLite", b"apiVersion"))
    return "" if is_common else text.decode("latin-1")


def running(folder: Path) -> Iterator[Arena]:
    """Yield a platform under attack, and take it down without a trace."""
    arena = Arena(folder)
    try:
        yield arena.start()
    finally:
        arena.stop()
