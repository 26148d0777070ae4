"""ServiceAccount: every pod runs as one, and gets its token mounted."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.request import CREATE, Request

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api

Json = dict[str, Any]
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
MIRROR = "kubernetes.io/config.mirror"
ENFORCE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
# A namespace's default account is made by a controller moments after the namespace.
TRIES, PAUSE = 10, 0.1
EXPIRATION = 3607


class ServiceAccount(Quiet):
    """Fills in the account and mounts its token."""

    keys = frozenset(("pods",))

    def __init__(self, api: Api, stock: Collections) -> None:
        self._api = api
        self._stock = stock

    async def mutate(self, request: Request) -> None:
        pod = request.object
        if request.operation != CREATE or pod is None or not isinstance(pod.get("spec"), dict):
            return
        if MIRROR in (pod.get("metadata", {}).get("annotations") or {}):
            return
        spec = pod["spec"]
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        account = await self._find(request, name)
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        if _wants_token(account, spec):
            _mount(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(one) for one in account["imagePullSecrets"]]

    async def validate(self, request: Request) -> None:
        pod = request.object
        if request.operation != CREATE or pod is None:
            return
        spec = pod.get("spec") or {}
        account = self._stock.find(
            "", "serviceaccounts", spec.get("serviceAccountName") or "default", request.namespace
        )
        annotations = (account or {}).get("metadata", {}).get("annotations") or {}
        if account is not None and annotations.get(ENFORCE_SECRETS) == "true":
            _check_secrets(request, account, spec)

    async def _find(self, request: Request, name: str) -> Json:
        tries = TRIES if name == "default" else 1
        for left in range(tries, 0, -1):
            found = self._stock.find("", "serviceaccounts", name, request.namespace)
            if found is not None:
                return found
            if left > 1:
                await asyncio.sleep(PAUSE)
        raise request.refuse(
            f"error looking up service account {request.namespace}/{name}: "
            f'serviceaccount "{name}" not found'
        )


def _wants_token(account: Json, spec: Json) -> bool:
    if spec.get("automountServiceAccountToken") is not None:
        return bool(spec["automountServiceAccountToken"])
    return account.get("automountServiceAccountToken") is not False


def _mount(spec: Json) -> None:
    name = "kube-api-access-" + "".join(secrets.choice(ALPHABET) for _ in range(5))
    for known in spec.get("volumes") or ():
        if isinstance(known, dict) and str(known.get("name", "")).startswith("kube-api-access-"):
            name = known["name"]
    is_needed = False
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            mounts = container.get("volumeMounts") or []
            if any(one.get("mountPath") == MOUNT_PATH for one in mounts):
                continue
            mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
            container["volumeMounts"] = [*mounts, mount]
            is_needed = True
    volumes = spec.get("volumes") or []
    if is_needed and not any(one.get("name") == name for one in volumes):
        spec["volumes"] = [*volumes, _token_volume(name)]


def _token_volume(name: str) -> Json:
    certificate = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": EXPIRATION, "path": "token"}},
        {"configMap": certificate},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 420}}


def _check_secrets(request: Request, account: Json, spec: Json) -> None:
    allowed = {one.get("name") for one in account.get("secrets") or ()}
    name = account["metadata"]["name"]
    for volume in spec.get("volumes") or ():
        secret = (volume.get("secret") or {}).get("secretName")
        if secret and secret not in allowed:
            raise request.refuse(
                f'volume with secret.secretName="{secret}" is not allowed because service '
                f"account {name} does not reference that secret"
            )
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            for variable in container.get("env") or ():
                secret = ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")
                if secret and secret not in allowed:
                    raise request.refuse(
                        f"{'init ' if field == 'initContainers' else ''}container "
                        f"{container.get('name')} with envVar {variable.get('name')} referencing "
                        f'secret.secretName="{secret}" is not allowed because service account '
                        f"{name} does not reference that secret"
                    )
