"""CertificateSigningRequests: the server writes who asks and when something was decided."""

from __future__ import annotations

import time
from typing import Any, Protocol

Json = dict[str, Any]
REQUESTS = "certificatesigningrequests.certificates.k8s.io"


class Asker(Protocol):
    """Whoever sends a request."""

    @property
    def name(self) -> str: ...

    @property
    def uid(self) -> str: ...

    @property
    def groups(self) -> Any: ...

    @property
    def extra(self) -> Any: ...


def sign_request(obj: Json, user: Asker) -> None:
    """Write the requester into a new request, whatever the client claims to be."""
    spec = obj.setdefault("spec", {})
    for field in ("username", "uid", "groups", "extra"):
        spec.pop(field, None)
    spec["username"] = user.name
    if user.uid:
        spec["uid"] = user.uid
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.extra:
        spec["extra"] = {name: list(values) for name, values in user.extra.items()}


def keep_request(new: Json, old: Json) -> None:
    """A request is not changed once it was made."""
    new["spec"] = old.get("spec") or {}


def stamp_conditions(new: Json, old: Json) -> None:
    """Conditions without times get the present one, or keep that of a condition like them."""
    before = {row.get("type"): row for row in (old.get("status") or {}).get("conditions") or ()}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for row in (new.get("status") or {}).get("conditions") or ():
        known = before.get(row.get("type"))
        if not row.get("lastUpdateTime"):
            row["lastUpdateTime"] = now
        if not row.get("lastTransitionTime"):
            same = known is not None and known.get("status") == row.get("status")
            row["lastTransitionTime"] = (known or {}).get("lastTransitionTime") if same else now
