"""Run the operator against any API server: `python -m labsandbox.kubedirector --kubeconfig F`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from labsandbox import program
from labsandbox.catalogue import Catalogue
from labsandbox.client import Client
from labsandbox.kubedirector.install import InstallError
from labsandbox.kubedirector.job import Deadlines
from labsandbox.kubedirector.operator import Options, serve


def main(arguments: list[str] | None = None) -> int:
    """Run the operator until it is told to end."""
    parser = argparse.ArgumentParser(prog="python -m labsandbox.kubedirector", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", default="kubedirector", help="KubeDirector's own namespace")
    parser.add_argument("--webhook-host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--webhook-port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--advertise", help="host name the API server reaches the webhook by")
    parser.add_argument("--ca", type=Path, help="folder with ca.crt and ca.key for the webhook")
    parser.add_argument("--catalog", type=Path, help="folder of kdapps for the system catalogue")
    parser.add_argument("--configure-deadline", type=float, default=Deadlines().configure)
    parser.add_argument("--script-deadline", type=float, default=Deadlines().others)
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")
    parser.add_argument("-v", "--verbose", action="store_true")
    chosen = parser.parse_args(arguments)
    options = Options(
        webhook_host=chosen.webhook_host,
        webhook_port=chosen.webhook_port,
        namespace=chosen.namespace,
        authority=chosen.ca,
        advertise=chosen.advertise,
        catalogue=Catalogue(chosen.catalog) if chosen.catalog else None,
        deadlines=Deadlines(chosen.configure_deadline, chosen.script_deadline),
    )
    try:
        return program.run(
            chosen.kubeconfig,
            "kubedirector",
            lambda client: _serve(client, options),
            verbose=chosen.verbose,
            parent=chosen.parent_pid,
        )
    except InstallError as error:
        print(f"kubedirector: {error}", file=sys.stderr)
        return 1


async def _serve(client: Client, options: Options) -> None:
    ready = asyncio.Event()
    said = asyncio.create_task(_say_ready(ready))
    try:
        await serve(client, options, ready)
    finally:
        said.cancel()


async def _say_ready(ready: asyncio.Event) -> None:
    await ready.wait()
    print("kubedirector is ready", flush=True)


if __name__ == "__main__":
    sys.exit(main())
