"""A KubeDirector-compatible operator: kdclusters become StatefulSets, services and set-up members.

It is a client of the Kubernetes API like any other, so it runs against a real API server too.
README.md in this folder says what it does and where it differs from the original.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labsandbox.catalogue import Catalogue
    from labsandbox.client import Client

__all__ = ["run"]


async def run(
    client: Client,
    pki: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    catalogue: Catalogue | None = None,
    ready: asyncio.Event | None = None,
) -> None:
    """Run the operator beside the other parts of the platform until cancelled.

    The webhook listens on `host` and `port` (0: any free one) with a certificate from the CA in
    the folder `pki`. The operator installs the configuration and the apps of `catalogue`.
    """
    from labsandbox.kubedirector.operator import Options, serve

    options = Options(webhook_host=host, webhook_port=port, authority=pki, catalogue=catalogue)
    await serve(client, options, ready)
