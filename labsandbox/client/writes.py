"""Writes that make an object what it shall be, whether it exists or not."""

from __future__ import annotations

from typing import Any

import stamina

from labsandbox.client.api import Client, Object
from labsandbox.client.errors import ApiError
from labsandbox.client.resources import Resource

_SECONDS, _LONGEST_PAUSE = 20.0, 0.5


async def create_or_replace(client: Client, resource: Resource, obj: Object) -> None:
    """Create an object, or replace all but the metadata and status of the one that is there.

    Somebody else may create, change or delete it at the same time; then it is looked at again.
    """
    async for attempt in stamina.retry_context(
        on=_is_overtaken, timeout=_SECONDS, wait_max=_LONGEST_PAUSE
    ):
        with attempt:
            if not await _is_created(client, resource, obj):
                await _replace(client, resource, obj)


async def create_or_merge(client: Client, resource: Resource, obj: Object, **options: Any) -> None:
    """Create an object, or merge it into the one that is there."""
    async for attempt in stamina.retry_context(
        on=_is_overtaken, timeout=_SECONDS, wait_max=_LONGEST_PAUSE
    ):
        with attempt:
            if not await _is_created(client, resource, obj, **options):
                meta = obj["metadata"]
                place = meta["name"], meta.get("namespace")
                await client.patch(resource, *place, obj, **options)


async def _is_created(client: Client, resource: Resource, obj: Object, **options: Any) -> bool:
    try:
        await client.create(resource, obj, obj["metadata"].get("namespace"), **options)
    except ApiError as error:
        if not error.is_already_there:
            raise
        return False
    return True


async def _replace(client: Client, resource: Resource, obj: Object) -> None:
    meta = obj["metadata"]
    found = await client.get(resource, meta["name"], meta.get("namespace"))
    kept = found["metadata"] | {
        key: value for key, value in meta.items() if key in ("labels", "annotations")
    }
    body = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    await client.replace(resource, found | body | {"metadata": kept})


def _is_overtaken(error: Exception) -> bool:
    return isinstance(error, ApiError) and (error.is_not_found or error.is_conflict)
