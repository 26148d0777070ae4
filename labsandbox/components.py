"""The parts that share the platform's process: what each needs to start, and when it is ready.

Imported late by `labsandbox.platform`, while the API server is already starting.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from labsandbox import bootstrap, controllers, gateway, kubedirector, node
from labsandbox.client import Client
from labsandbox.ezmeral import service as ezmeral
from labsandbox.ezmeral.accounts import Accounts
from labsandbox.node.agent import Settings as NodeSettings
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

    def _client(self, name: str) -> Client:
        if name not in self._clients:
            self._clients[name] = Client.from_kubeconfig(
                self._state.kubeconfig(name), user_agent=name
            )
        return self._clients[name]

    def programs(self) -> dict[str, Start]:
        """Return how to start each part."""
        front = ezmeral.Settings(self._host, self._rest_port, self._options.session_seconds)
        machine = NodeSettings(allocatable=self._options.overbooking())
        return {
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
                ready=self._operator_ready,
            ),
            "gateway": lambda: gateway.run(self._client("gateway"), self._state, self._host),
        }

    def _equipment(self) -> bootstrap.Equipment:
        front_door = f"https://{self._host}:{self._rest_port}"
        options = self._options
        return bootstrap.Equipment(
            self._client("ezmeral"), self._state, options.catalog, front_door, options.learners
        )

    async def fill(self) -> None:
        """Create accounts, tenants, the catalogue and the shared training cluster."""
        bootstrap.create_accounts(self._state, self._accounts, self._options.students)
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
