"""Making the platform know KubeDirector: its CRDs, its webhook, its global configuration, apps."""

from __future__ import annotations

import asyncio
import base64

from labsandbox.client import ApiError, Client, Resource, create_or_replace
from labsandbox.client.resources import (
    CRDS,
    KDCONFIGS,
    MUTATINGWEBHOOKS,
    NAMESPACES,
)
from labsandbox.kubedirector.definition import load_crds
from labsandbox.kubedirector.model import GLOBAL_CONFIG, GROUP, Object

WEBHOOK = "kubedirector-webhook"
HARD, SOFT = f"hard-validate-cr.{GROUP}", f"soft-validate-cr.{GROUP}"
PATH = "/validate"
_SECONDS = 10
_DEADLINE = 30


class InstallError(Exception):
    """The platform could not be made ready for kdclusters."""


async def install_crds(client: Client) -> None:
    """Create or update the definitions, and wait until the API server serves them."""
    crds = load_crds()
    await asyncio.gather(*(create_or_replace(client, CRDS, crd) for crd in crds))
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
    await create_or_replace(client, MUTATINGWEBHOOKS, make_webhook(url, bundle))


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


async def _wait_established(client: Client, name: str) -> None:
    pause = 0.01
    while True:
        crd = await client.get(CRDS, name)
        conditions = (crd.get("status") or {}).get("conditions") or []
        if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)


async def _create(client: Client, resource: Resource, obj: Object, namespace: str | None) -> None:
    try:
        await client.create(resource, obj, namespace)
    except ApiError as error:
        if not error.is_already_there:
            raise
