"""`python -m labsandbox.ezmeral`: the front door alone, before any Kubernetes cluster."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import aiohttp

from labsandbox import bootstrap, certificates, program
from labsandbox.catalogue import OURS, Catalogue
from labsandbox.client import Client, ClientError
from labsandbox.ezmeral import service, webhook
from labsandbox.ezmeral.accounts import Accounts
from labsandbox.options import Options
from labsandbox.state import State

log = logging.getLogger(__name__)


def main(words: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m labsandbox.ezmeral", description=__doc__)
    usual = service.FrontDoorSettings()
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the API")
    parser.add_argument(
        "--state",
        type=Path,
        required=True,
        help="folder for accounts, passwords and projects; pki/ca.crt in it is made if missing",
    )
    parser.add_argument("--host", default=usual.host, help="address to listen on")
    parser.add_argument("--port", type=int, default=usual.port)
    parser.add_argument("--students", type=int, default=Options.students)
    parser.add_argument("--session-seconds", type=float, default=Options.session_seconds)
    parser.add_argument("--catalog", type=Path, default=OURS.folder)
    chosen = parser.parse_args(words)
    state = State.at(chosen.state)
    state.make()
    certificates.ensure_authority(state.pki, "labsandbox-front-door")
    config = webhook.config_file(state, chosen.host, chosen.port)
    print(f"Start the API server with --authentication-token-webhook-config-file={config}")
    return program.run(chosen.kubeconfig, "ezmeral", lambda client: _serve(client, state, chosen))


async def _serve(client: Client, state: State, chosen: argparse.Namespace) -> None:
    """Open the door, and make accounts, tenants and the catalogue behind it."""
    accounts = Accounts(state.ezmeral / "accounts.db")
    address = f"https://{chosen.host}:{chosen.port}"
    catalogue = Catalogue(chosen.catalog)
    equipment = bootstrap.Equipment(client, state, catalogue, address, chosen.students)
    settings = service.FrontDoorSettings(
        chosen.host, chosen.port, chosen.session_seconds, catalogue
    )
    started = asyncio.Event()
    try:
        await bootstrap.create_accounts(state, accounts, chosen.students)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                service.run(client, state, settings, accounts, equipment.give, started)
            )
            await started.wait()
            print(f"The front door is open: {address}", flush=True)
            await _fill(equipment, accounts)
            print("Tenants and catalogue are ready.", flush=True)
    finally:
        accounts.close()


async def _fill(equipment: bootstrap.Equipment, accounts: Accounts) -> None:
    """Make the tenants; people can sign in while the cluster or KubeDirector is not ready yet."""
    while True:
        try:
            await bootstrap.fill_cluster(equipment, accounts)
            return
        except (ClientError, aiohttp.ClientError, OSError) as error:
            log.warning("tenants and catalogue are not ready, trying again in 10 s: %s", error)
            await asyncio.sleep(10)


if __name__ == "__main__":
    sys.exit(main())
