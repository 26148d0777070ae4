"""What every part of the platform does when it runs alone, as `python -m labsandbox.<part>`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from labsandbox import bounds, loop
from labsandbox.client import Client, ClientError

Work = Callable[[Client], Awaitable[None]]


def run(kubeconfig: Path, name: str, work: Work, *, verbose: bool = True) -> int:
    """Run a part as a client of the API until SIGINT or SIGTERM; return the exit code."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
    )
    bounds.protect()
    try:
        loop.run(_until_stopped(kubeconfig, name, work))
    except ClientError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


async def _until_stopped(kubeconfig: Path, name: str, work: Work) -> None:
    async with Client.from_kubeconfig(kubeconfig, user_agent=name) as client:
        task = asyncio.ensure_future(work(client))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task
