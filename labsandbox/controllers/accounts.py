"""What every namespace gets: the service account `default` and the ConfigMap with the CA."""

from __future__ import annotations

from typing import Any

from labsandbox.client.resources import CONFIGMAPS, SERVICEACCOUNTS
from labsandbox.controllers.actions import Action, Create, Patch
from labsandbox.controllers.objects import is_deleted

Object = dict[str, Any]

CA_NAME = "kube-root-ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


def reconcile_account(namespace: Object, account: Object | None) -> list[Action]:
    """Return the creation of the service account `default` where it is missing."""
    if is_deleted(namespace) or account is not None:
        return []
    meta = {"name": "default", "namespace": namespace["metadata"]["name"]}
    return [Create(SERVICEACCOUNTS, {"metadata": meta}, is_patient=True)]


def reconcile_ca(namespace: Object, has_it: bool, data: Object | None, ca: str) -> list[Action]:
    """Return what makes the namespace's CA ConfigMap right; `data` is None when not known."""
    if is_deleted(namespace):
        return []
    where = namespace["metadata"]["name"]
    wanted = {"ca.crt": ca}
    notes = {"kubernetes.io/description": DESCRIPTION}
    if not has_it:
        meta = {"name": CA_NAME, "namespace": where, "annotations": notes}
        return [Create(CONFIGMAPS, {"metadata": meta, "data": wanted}, is_patient=True)]
    if data is not None and data != wanted:
        return [Patch(CONFIGMAPS, CA_NAME, where, {"data": wanted})]
    return []
