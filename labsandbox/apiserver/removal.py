"""Deleting a CustomResourceDefinition: first its objects, then the definition itself."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.status import StatusError
from labsandbox.apiserver.store import Stale
from labsandbox.apiserver.verbs.objects import now

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api
    from labsandbox.apiserver.registry import ResourceDef

Json = dict[str, Any]
_LOG = logging.getLogger(__name__)
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
BUCKET = "customresourcedefinitions.apiextensions.k8s.io"
_AGAIN = 0.2


def is_definition(resource: ResourceDef) -> bool:
    return resource.plural == "customresourcedefinitions"


def mark(definition: Json) -> bool:
    """Write the deletion into a definition; False when it is being deleted already."""
    metadata = definition["metadata"]
    if metadata.get("deletionTimestamp"):
        return False
    metadata["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    finalizers = metadata.get("finalizers") or []
    if CLEANUP not in finalizers:
        metadata["finalizers"] = [*finalizers, CLEANUP]
    status = definition.get("status") or {}
    conditions = [c for c in status.get("conditions") or () if c.get("type") != "Terminating"]
    conditions.append(
        {
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": now(),
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion "
            "will begin soon",
        }
    )
    definition["status"] = {**status, "conditions": conditions}
    return True


async def clean_up(api: Api, name: str) -> None:
    """Delete the objects of a terminating definition, then let the definition go."""
    while (record := api.store.latest(BUCKET, "", name)) is not None:
        definition = record.load()
        metadata = definition["metadata"]
        if not metadata.get("deletionTimestamp") or CLEANUP not in (
            metadata.get("finalizers") or ()
        ):
            return
        spec = definition["spec"]
        if not await _delete_objects(api, f"{spec['names']['plural']}.{spec['group']}"):
            await asyncio.sleep(_AGAIN)
            continue
        metadata["finalizers"] = [one for one in metadata["finalizers"] if one != CLEANUP]
        try:
            if metadata["finalizers"]:
                await api.store.write(BUCKET, "", name, definition, record)
            else:
                await api.store.remove(BUCKET, "", name, definition, record)
        except (Stale, StatusError):
            continue
        return


async def _delete_objects(api: Api, bucket: str) -> bool:
    """Delete what has no finalizers and mark the rest; True when nothing is left."""
    store = api.store
    for record in list(store.bucket(bucket).ordered(None)):
        obj = record.load()
        metadata = obj["metadata"]
        try:
            if not metadata.get("finalizers"):
                await store.remove(bucket, record.namespace, record.name, obj, record)
            elif not metadata.get("deletionTimestamp"):
                metadata["deletionTimestamp"] = now()
                metadata["deletionGracePeriodSeconds"] = 0
                await store.write(bucket, record.namespace, record.name, obj, record)
        except (Stale, StatusError) as error:
            _LOG.debug("%s %s is deleted later: %s", bucket, record.name, error)
    return not store.bucket(bucket).ordered(None)
