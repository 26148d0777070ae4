"""CertificateSigningRequest: approved requests for clients of this cluster are signed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from labsandbox.client.resources import CSRS
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Replace

Object = dict[str, Any]
# Signs a PEM request for so many seconds; raises ValueError that says what is wrong with it.
Sign = Callable[[bytes, frozenset[str], int | None], str]

_CLIENT = frozenset({"digital signature", "key encipherment", "client auth"})
_SERVER = frozenset({"digital signature", "key encipherment", "server auth"})
SIGNERS = {
    "kubernetes.io/kube-apiserver-client": _CLIENT,
    "kubernetes.io/kube-apiserver-client-kubelet": _CLIENT,
    "kubernetes.io/kubelet-serving": _SERVER,
}
_NEEDED = {"client auth", "server auth"}


def reconcile(csr: Object, sign: Sign, now: float) -> list[Action]:
    """Return the certificate of an approved request, or why there is none."""
    spec, status = csr["spec"], csr.get("status") or {}
    allowed = SIGNERS.get(spec["signerName"])
    if allowed is None or status.get("certificate") or not _is(csr, "Approved"):
        return []
    if _is(csr, "Denied") or _is(csr, "Failed"):
        return []
    usages = frozenset(spec.get("usages") or [])
    try:
        if not usages <= allowed or not usages & _NEEDED & allowed:
            raise ValueError(
                f"usages were expected among {', '.join(sorted(allowed))} with "
                f"{' '.join(allowed & _NEEDED)}, found {', '.join(sorted(usages)) or 'none'}"
            )
        request = base64.b64decode(spec["request"], validate=True)
        certificate = sign(request, usages, spec.get("expirationSeconds"))
    except (ValueError, binascii.Error) as error:
        stamp = objects.when(now)
        failed = {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": str(error),
            "lastUpdateTime": stamp,
            "lastTransitionTime": stamp,
        }
        conditions = [*(status.get("conditions") or []), failed]
        return [Replace(CSRS, {**csr, "status": {**status, "conditions": conditions}}, "status")]
    encoded = base64.b64encode(certificate.encode()).decode()
    return [Replace(CSRS, {**csr, "status": {**status, "certificate": encoded}}, "status")]


def _is(csr: Object, kind: str) -> bool:
    return objects.condition(csr, kind) is not None
