"""The API objects pods refer to: ConfigMaps, Secrets and Services, kept up to date by watching."""

from __future__ import annotations

import contextlib
from typing import Any

from labsandbox.client import ApiError, Client, Informer
from labsandbox.client.resources import CONFIGMAPS, SECRETS, SERVICES
from labsandbox.node.environment import Find

Object = dict[str, Any]

_REFERENCES = {
    "configMap": ("ConfigMap", "name"),
    "configMapRef": ("ConfigMap", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "secret": ("Secret", "secretName"),
    "secretRef": ("Secret", "name"),
    "secretKeyRef": ("Secret", "name"),
}


def references(spec: Any) -> set[tuple[str, str]]:
    """Return the (kind, name) of each ConfigMap and Secret a pod's spec names."""
    found: set[tuple[str, str]] = set()
    if isinstance(spec, list):
        for item in spec:
            found |= references(item)
    elif isinstance(spec, dict):
        for key, value in spec.items():
            if key in _REFERENCES and isinstance(value, dict):
                kind, word = _REFERENCES[key]
                name = value.get(word) or value.get("name")
                if name:
                    found.add((kind, name))
            found |= references(value)
    return found


class Objects:
    """What the node's pods may refer to."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.configmaps = Informer(client, CONFIGMAPS)
        self.secrets = Informer(client, SECRETS)
        self.service_objects = Informer(client, SERVICES)

    async def start(self) -> None:
        """Begin to follow them."""
        for informer in (self.configmaps, self.secrets, self.service_objects):
            await informer.start()

    async def stop(self) -> None:
        """Stop following."""
        for informer in (self.configmaps, self.secrets, self.service_objects):
            await informer.stop()

    def services(self, namespace: str) -> list[Object]:
        """Return the services of a namespace."""
        found = self.service_objects.objects.items()
        return [service for (where, _), service in sorted(found) if where == namespace]

    async def finder(self, pod: Object) -> Find:
        """Return a function that finds what the pod refers to.

        What the watch has not brought yet is asked for, so a pod created right after its ConfigMap
        starts at once.
        """
        namespace = pod["metadata"]["namespace"]
        fetched: dict[tuple[str, str], Object] = {}
        for kind, name in references(pod["spec"]):
            informer = self.secrets if kind == "Secret" else self.configmaps
            cached = informer.get(name, namespace)
            if cached is None:
                with contextlib.suppress(ApiError):
                    cached = await self.client.get(informer.resource, name, namespace)
            if cached is not None:
                fetched[kind, name] = {"kind": kind, **cached}
        return lambda kind, name: fetched.get((kind, name))
