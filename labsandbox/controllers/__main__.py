"""`python -m labsandbox.controllers`: the controllers alone, against any Kubernetes API."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from labsandbox import controllers
from labsandbox.client import Client


async def _run(kubeconfig: Path, state: Path) -> None:
    async with Client.from_kubeconfig(kubeconfig, user_agent="controllers") as client:
        work = asyncio.ensure_future(controllers.run(client, state))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m labsandbox.controllers", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the API")
    parser.add_argument("--state", type=Path, default=Path("."), help="the platform's folder")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(_run(arguments.kubeconfig, arguments.state))


if __name__ == "__main__":
    main()
