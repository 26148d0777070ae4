"""Looking after kd-global-config: its finalizer, and a status that says it was seen."""

from __future__ import annotations

import uuid

from labsandbox.client import ApiError, Client
from labsandbox.client.resources import KDCONFIGS
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.model import FINALIZER, Object

READY = "ready"


async def sync_config(client: Client, codes: Codes, config: Object) -> Object:
    """Bring the configuration object into its proper state; return what became of it."""
    try:
        return await _sync(client, codes, config)
    except ApiError as error:
        if error.is_not_found or error.is_conflict:
            return config  # gone, or changed meanwhile: the change brings us here again
        raise


async def _sync(client: Client, codes: Codes, config: Object) -> Object:
    meta = config["metadata"]
    name, namespace, finalizers = meta["name"], meta["namespace"], meta.get("finalizers") or []
    if meta.get("deletionTimestamp"):
        if FINALIZER in finalizers:
            kept = [f for f in finalizers if f != FINALIZER]
            patch = {"metadata": {"finalizers": kept}}
            config = await client.patch(KDCONFIGS, name, namespace, patch)
        return config
    if FINALIZER not in finalizers:
        patch = {"metadata": {"finalizers": [*finalizers, FINALIZER]}}
        config = await client.patch(KDCONFIGS, name, namespace, patch)
    if (config.get("status") or {}).get("state") != READY:
        code = str(uuid.uuid4())
        codes.expect(meta["uid"], code)
        status = {"status": {"state": READY, "generationUID": code}}
        try:
            config = await client.patch(KDCONFIGS, name, namespace, status, subresource="status")
        finally:
            codes.spend(meta["uid"])
    return config
