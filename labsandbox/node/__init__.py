"""The node agent: turns pods into supervised processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labsandbox.client import Client
    from labsandbox.node.settings import NodeSettings

__all__ = ["client_environment", "run", "stop"]


async def run(client: Client, state: Path, settings: NodeSettings | None = None) -> None:
    """Run the node agent until cancelled; its pods go on running."""
    # Imported here because the keeper imports this package and has to stay small.
    from labsandbox.node import agent

    await agent.run(client, state, settings)


async def stop(state: Path) -> None:
    """End every process of every pod, and the keeper, whoever started them and when."""
    import asyncio

    from labsandbox.node import processes, shm, tmpdir

    await asyncio.to_thread(processes.kill_node, processes.mark_of(state))
    await asyncio.to_thread(tmpdir.remove, Path(state).resolve())
    await asyncio.to_thread(shm.remove, processes.mark_of(state))


def client_environment(state: Path) -> dict[str, str]:
    """Return the variables that make cluster names resolve in a learner's shell."""
    from labsandbox.node import resolver

    return resolver.client_environment(state)
