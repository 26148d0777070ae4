"""What every part of the platform does when it runs alone, as `python -m labsandbox.<part>`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from labsandbox import bounds, loop, owner
from labsandbox.client import Client, ClientError, KubeconfigError

log = logging.getLogger(__name__)

Work = Callable[[Client], Awaitable[None]]

_PAUSE = 1.0  # seconds between two questions to a server that does not answer


def run(
    kubeconfig: Path, name: str, work: Work, *, verbose: bool = True, parent: int | None = None
) -> int:
    """Run a part as a client of the API until SIGINT or SIGTERM; return the exit code.

    It ends with the process `parent`, too, when one is given.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
    )
    bounds.protect()
    try:
        loop.run(_until_stopped(kubeconfig, name, work, parent))
    except ClientError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


async def _until_stopped(kubeconfig: Path, name: str, work: Work, parent: int | None) -> None:
    async with Client.from_kubeconfig(kubeconfig, user_agent=name) as client:
        task = asyncio.ensure_future(_once_reached(client, kubeconfig, work))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        watched = asyncio.create_task(_end_with(parent, task)) if parent else None
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if watched is not None:
            watched.cancel()


async def _end_with(parent: int, task: asyncio.Task[None]) -> None:
    await owner.until_gone(parent)
    task.cancel()


async def _once_reached(client: Client, kubeconfig: Path, work: Work) -> None:
    """Begin when the API answers; until then say what is in the way, each reason once."""
    server = client.access.server
    said = ""
    while True:
        try:
            await client.request("GET", "/version")
            break
        except aiohttp.ClientConnectorCertificateError as error:
            raise KubeconfigError(
                f"Expected {server} to show a certificate that the certificate-authority of "
                f"{kubeconfig} has signed, found: {error.certificate_error}. Take the kubeconfig "
                "of this server."
            ) from error
        except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            if reason != said:
                log.warning("%s does not answer yet, and is asked again: %s", server, reason)
                said = reason
            await asyncio.sleep(_PAUSE)
    await work(client)
