"""The parts that share the platform's process: what each needs to start, and when it is ready.

Imported late by `labsandbox.platform`, while the API server is already starting.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from labsandbox import bootstrap, controllers, directory, gateway, kubedirector, node, ports, rights
from labsandbox.client import Client
from labsandbox.directory import people
from labsandbox.ezmeral import service as ezmeral
from labsandbox.ezmeral.accounts import Accounts
from labsandbox.ezmeral.directory import Directory
from labsandbox.node.settings import NodeSettings
from labsandbox.options import Options
from labsandbox.state import State

Start = Callable[[], Awaitable[None]]


class Parts:
    """The controllers, the operator, the node agent, the front door and the gateway."""

    def __init__(self, state: State, host: str, rest_port: int, options: Options) -> None:
        self._state = state
        self._host = host
        self._rest_port = rest_port
        self._options = options
        self._accounts = Accounts(state.ezmeral / "accounts.db")
        self._front_door_open = asyncio.Event()
        self._operator_ready = asyncio.Event()
        self._clients: dict[str, Client] = {}
        self._directory: directory.DirectorySettings | None = None
        if options.has_directory:
            port = ports.choose(directory.FIRST_PORT)
            self._directory = directory.DirectorySettings(
                state.root / "directory", state.pki, host, port
            )

    def _client(self, name: str) -> Client:
        if name not in self._clients:
            self._clients[name] = Client.from_kubeconfig(
                self._state.kubeconfig(name), user_agent=name
            )
        return self._clients[name]

    async def grant(self) -> None:
        """Give the parts and the people their rights; before that, the parts may do nothing."""
        async with Client.from_kubeconfig(self._state.admin_kubeconfig) as administrator:
            await rights.grant(administrator)
            await bootstrap.serve_metrics(administrator)

    def programs(self) -> dict[str, Start]:
        """Return how to start each part."""
        catalogue = self._options.catalogue
        asked = None
        if self._directory is not None:
            asked = Directory(self._directory.url, self._state.ca, people.BASE)
        front = ezmeral.FrontDoorSettings(
            self._host, self._rest_port, self._options.session_seconds, catalogue, asked
        )
        outside = gateway.GatewaySettings(self._state.pki, self._host, pods_on_loopback=True)
        machine = NodeSettings(images=catalogue.images, allocatable=self._options.overbooking())
        parts: dict[str, Start] = {}
        if self._directory is not None:
            parts["directory"] = self._serve_directory
        return parts | {
            "ezmeral": lambda: ezmeral.run(
                self._client("ezmeral"),
                self._state,
                front,
                self._accounts,
                self._equipment().give,
                self._front_door_open,
            ),
            "controllers": lambda: controllers.run(self._client("controllers"), self._state.root),
            "node": lambda: node.run(self._client("node"), self._state.root, machine),
            "kubedirector": lambda: kubedirector.run(
                self._client("kubedirector"),
                self._state.pki,
                self._host,
                catalogue=catalogue,
                ready=self._operator_ready,
            ),
            "gateway": lambda: gateway.run(self._client("gateway"), outside),
        }

    async def _serve_directory(self) -> None:
        assert self._directory is not None
        known = [
            bootstrap.Person(one.name, bootstrap.TENANT if one.groups else None, one.role)
            for one in people.PEOPLE
        ]
        await directory.run(self._directory, bootstrap.passwords_of(self._state, known))

    def _map_groups(self) -> None:
        """Give the directory's groups their roles, unless an administrator has given them some."""
        tenant = self._accounts.tenant_named(bootstrap.TENANT)
        if not self._accounts.groups_of(tenant):
            roles = [(people.group_dn(group), role) for group, role in people.GROUPS.items()]
            self._accounts.map_groups(tenant, roles)

    def _equipment(self) -> bootstrap.Equipment:
        front_door = f"https://{self._host}:{self._rest_port}"
        options = self._options
        return bootstrap.Equipment(
            self._client("ezmeral"), self._state, options.catalogue, front_door, options.learners
        )

    async def fill(self) -> None:
        """Create accounts, tenants, the catalogue and the shared training cluster."""
        await bootstrap.create_accounts(self._state, self._accounts, self._options.students)
        if self._directory is not None:
            self._map_groups()
        await self._operator_ready.wait()
        await bootstrap.fill_cluster(self._equipment(), self._accounts)

    async def ready(self) -> None:
        """Return when learners can sign in."""
        await self._front_door_open.wait()

    def environment(self) -> str:
        """Return the environment a learner's Jupyter needs, one NAME=value a line."""
        user = "student1" if self._options.students else bootstrap.INSTRUCTOR
        tenant = self._accounts.tenant_named(bootstrap.TENANT)
        home = self._state.root / "home" / user
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        values = {
            "EZMERAL_URL": f"https://{self._host}:{self._rest_port}",
            "EZMERAL_CA": str(self._state.ca),
            "EZMERAL_TENANT": tenant.name,
            "EZMERAL_USER": user,
            "EZMERAL_PASSWORD_FILE": str(bootstrap.password_file(self._state, user)),
            "GATEWAY_CA": str(self._state.ca),
            "KUBECONFIG": str(home / "kubeconfig"),
            "PROJECT_REPO": str(self._state.projects / tenant.namespace),
            "LABSANDBOX_STATE": str(self._state.root),
            **node.client_environment(self._state.root),
        }
        if self._directory is not None:
            values |= {"EZMERAL_DIRECTORY": self._directory.url}
        path = values.get("PATH") or os.environ.get("PATH", "")
        beside = str(Path(sys.executable).parent)
        if beside not in path.split(os.pathsep):
            values["PATH"] = f"{beside}{os.pathsep}{path}"
        return "".join(f"{name}={value}\n" for name, value in values.items())

    async def close(self) -> None:
        """Stop what runs in pods and close every connection."""
        await node.stop(self._state.root)
        for client in self._clients.values():
            await client.close()
        self._accounts.close()
