"""Making the platform know KubeDirector: its CRDs, its webhook, its global configuration, apps."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from importlib import resources as files
from pathlib import Path

import yaml

from labsandbox.client import ApiError, Client, Resource
from labsandbox.client.resources import (
    CRDS,
    KDAPPS,
    KDCONFIGS,
    MUTATINGWEBHOOKS,
    NAMESPACES,
)
from labsandbox.kubedirector.model import GLOBAL_CONFIG, GROUP, Object

WEBHOOK = "kubedirector-webhook"
HARD, SOFT = f"hard-validate-cr.{GROUP}", f"soft-validate-cr.{GROUP}"
PATH = "/validate"
_SECONDS = 10
_DEADLINE = 30


class InstallError(Exception):
    """The platform could not be made ready for kdclusters."""


def load_crds() -> list[Object]:
    """Return the CustomResourceDefinitions of KubeDirector."""
    folder = files.files("labsandbox.kubedirector") / "crds"
    return [
        yaml.safe_load(entry.read_text())
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    ]


def load_manifests(folder: Path) -> list[Object]:
    """Return the KubeDirector manifests of a catalogue folder."""
    found = []
    for path in sorted(folder.glob("*.yaml")):
        for obj in yaml.safe_load_all(path.read_text()):
            if obj and str(obj.get("apiVersion", "")).startswith(GROUP):
                found.append(obj)
    return found


def load_config(folder: Path) -> Object:
    """Return the spec of kd-global-config that a catalogue folder holds; empty when it has none."""
    found = [obj for obj in load_manifests(folder) if obj["kind"] == KDCONFIGS.kind]
    return dict(found[0].get("spec") or {}) if found else {}


async def install_crds(client: Client) -> None:
    """Create or update the definitions, and wait until the API server serves them."""
    crds = load_crds()
    await asyncio.gather(*(_apply(client, CRDS, crd) for crd in crds))
    names = [crd["metadata"]["name"] for crd in crds]
    try:
        async with asyncio.timeout(_DEADLINE):
            await asyncio.gather(*(_wait_established(client, name) for name in names))
    except TimeoutError:
        raise InstallError(
            f"The API server was expected to serve {GROUP} within {_DEADLINE} s and does not; "
            f"see `kubectl describe crd`."
        ) from None


async def install_webhook(client: Client, url: str, authority: bytes) -> None:
    """Point the API server at this operator's webhook."""
    bundle = base64.b64encode(authority).decode()
    await _apply(client, MUTATINGWEBHOOKS, make_webhook(url, bundle))


def make_webhook(url: str, bundle: str) -> Object:
    """Return the configuration of the webhook that answers at `url`."""

    def hook(name: str, policy: str, rules: Object) -> Object:
        return {
            "name": name,
            "clientConfig": {"url": url + PATH, "caBundle": bundle},
            "rules": [rules],
            "failurePolicy": policy,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": _SECONDS,
        }

    kinds = ["kubedirectorconfigs", "kubedirectorapps", "kubedirectorclusters"]
    # The status paths are named too: with a status subresource nothing else guards them.
    guarded = ["kubedirectorconfigs/status", "kubedirectorclusters/status"]
    return {
        "apiVersion": MUTATINGWEBHOOKS.api_version,
        "kind": MUTATINGWEBHOOKS.kind,
        "metadata": {"name": WEBHOOK},
        "webhooks": [
            hook(
                HARD,
                "Fail",
                {
                    "apiGroups": [GROUP],
                    "apiVersions": ["v1beta1"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                    "resources": kinds + guarded,
                },
            ),
            hook(
                SOFT,
                "Ignore",
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["persistentvolumeclaims"],
                },
            ),
        ],
    }


async def install_config(client: Client, namespace: str, spec: Object | None = None) -> None:
    """Create KubeDirector's namespace and kd-global-config if they do not exist.

    Returns when the configuration has its master key: an API server needs a moment to notice a
    webhook that is new or has moved, and it is the webhook that fills the key in.
    """
    await _create(client, NAMESPACES, {"metadata": {"name": namespace}}, None)
    config = {"metadata": {"name": GLOBAL_CONFIG, "namespace": namespace}, "spec": spec or {}}
    pause, last = 0.02, "nothing"
    try:
        async with asyncio.timeout(_DEADLINE):
            while True:
                try:
                    await _create(client, KDCONFIGS, config, namespace)
                    # A change that changes nothing still goes through the webhook.
                    found = await client.patch(KDCONFIGS, GLOBAL_CONFIG, namespace, {"spec": {}})
                    if (found.get("spec") or {}).get("masterEncryptionKey"):
                        return
                    last = "a kd-global-config without masterEncryptionKey"
                except ApiError as error:
                    if error.status < 500:
                        raise
                    last = error.message
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
    except TimeoutError:
        raise InstallError(
            f"The API server was expected to call the operator's webhook within {_DEADLINE} s; "
            f"found {last}. Look whether it can reach the webhook's address: `labsandbox doctor`."
        ) from None


async def install_catalog(client: Client, folder: Path, namespaces: Iterable[str]) -> list[str]:
    """Put the apps of a catalogue folder into namespaces; return the apps' names.

    An app that is in use is left as it is.
    """
    apps = [obj for obj in load_manifests(folder) if obj["kind"] == KDAPPS.kind]
    for namespace in namespaces:
        for app in apps:
            meta = app["metadata"] | {"namespace": namespace}
            try:
                await _apply(client, KDAPPS, app | {"metadata": meta})
            except ApiError as error:
                if "cannot be deleted or modified" not in error.message:
                    raise
    return [app["metadata"]["name"] for app in apps]


async def _wait_established(client: Client, name: str) -> None:
    pause = 0.01
    while True:
        crd = await client.get(CRDS, name)
        conditions = (crd.get("status") or {}).get("conditions") or []
        if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)


async def _apply(client: Client, resource: Resource, obj: Object) -> None:
    """Create an object, or replace the spec of the one that is there."""
    namespace = obj["metadata"].get("namespace")
    try:
        await client.create(resource, obj, namespace)
        return
    except ApiError as error:
        if not error.is_already_there:
            raise
    found = await client.get(resource, obj["metadata"]["name"], namespace)
    meta = found["metadata"] | {
        key: value for key, value in obj["metadata"].items() if key in ("labels", "annotations")
    }
    body = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    await client.replace(resource, found | body | {"metadata": meta})


async def _create(client: Client, resource: Resource, obj: Object, namespace: str | None) -> None:
    try:
        await client.create(resource, obj, namespace)
    except ApiError as error:
        if not error.is_already_there:
            raise
