"""`python -m labsandbox.node`: the node agent alone, against any Kubernetes API."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from labsandbox import bounds, loop, node
from labsandbox.client import Client
from labsandbox.node import pressure
from labsandbox.node.settings import NodeSettings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m labsandbox.node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="how to reach the API")
    parser.add_argument("--state", type=Path, required=True, help="the platform's folder")
    parser.add_argument("--name", default=NodeSettings.name, help="the node's name")
    parser.add_argument("--images", type=Path, default=NodeSettings.images)
    parser.add_argument("--client-ca", type=Path, help="whose clients may ask for logs and exec")
    parser.add_argument("--allocatable", action="append", default=[], metavar="RESOURCE=AMOUNT")
    parser.add_argument("--allow-host-path", type=Path, action="append", default=[])
    parser.add_argument(
        "--eviction-hard",
        type=pressure.read_thresholds,
        default={},
        metavar="SIGNAL<AMOUNT,...",
        help="when the node is under pressure, as a kubelet takes it",
    )
    parser.add_argument("--no-scheduler", action="store_true", help="another one binds the pods")
    parser.add_argument("--stop", action="store_true", help="end all pods and the keeper, and go")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> None:
    if arguments.stop:
        await node.stop(arguments.state)
        return
    settings = NodeSettings(
        name=arguments.name,
        images=arguments.images,
        is_scheduling=not arguments.no_scheduler,
        allocatable=dict(pair.split("=", 1) for pair in arguments.allocatable),
        allowed_host_paths=tuple(arguments.allow_host_path),
        client_ca=arguments.client_ca,
        thresholds=arguments.eviction_hard,
    )
    kubeconfig = arguments.kubeconfig or arguments.state / "kubeconfigs" / "node.conf"
    async with Client.from_kubeconfig(kubeconfig, user_agent="kubelet") as client:
        work = asyncio.ensure_future(node.run(client, arguments.state, settings))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work


def main() -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    bounds.protect()
    loop.run(_run(_arguments()))


if __name__ == "__main__":
    main()
