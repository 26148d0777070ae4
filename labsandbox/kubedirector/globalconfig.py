"""Looking after kd-global-config: its finalizer, and a status that says it was seen."""

from __future__ import annotations

import uuid

from labsandbox.client import ApiError, Client
from labsandbox.client.resources import KDCONFIGS
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.model import FINALIZER, Object

READY = "ready"


async def sync_config(client: Client, codes: Codes, config: Object) -> None:
    """Bring the configuration object into its proper state."""
    meta = config["metadata"]
    name, namespace, finalizers = meta["name"], meta["namespace"], meta.get("finalizers") or []
    try:
        if meta.get("deletionTimestamp"):
            if FINALIZER in finalizers:
                kept = [f for f in finalizers if f != FINALIZER]
                await client.patch(KDCONFIGS, name, namespace, {"metadata": {"finalizers": kept}})
            return
        if FINALIZER not in finalizers:
            patch = {"metadata": {"finalizers": [*finalizers, FINALIZER]}}
            await client.patch(KDCONFIGS, name, namespace, patch)
        if (config.get("status") or {}).get("state") != READY:
            code = str(uuid.uuid4())
            codes.expect(meta["uid"], code)
            status = {"state": READY, "generationUID": code}
            await client.patch(KDCONFIGS, name, namespace, {"status": status}, subresource="status")
    except ApiError as error:
        if not (error.is_not_found or error.is_conflict):
            raise
