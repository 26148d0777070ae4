"""The outcome of a judgement: what is wrong, or what to fill in."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

from labsandbox.kubedirector.model import Object


@dataclass(slots=True)
class Verdict:
    """Errors and patches; an object with any error is refused and not patched."""

    errors: list[str] = field(default_factory=list)
    patches: list[Object] = field(default_factory=list)

    def refuse(self, message: str) -> Verdict:
        """Add an error."""
        self.errors.append(message)
        return self

    def patch(self, op: str, path: str, value: Any = None) -> None:
        """Add a JSON patch operation."""
        entry: Object = {"op": op, "path": path}
        if op != "remove":
            entry["value"] = value
        self.patches.append(entry)

    @property
    def message(self) -> str:
        """Return all errors as the API server shows them."""
        return "\n" + "\n".join(self.errors)


@dataclass(frozen=True, slots=True)
class Request:
    """An admission request, as far as the judgements look at it."""

    operation: str
    obj: Object
    old: Object
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    user: Object = field(default_factory=dict)
    dry_run: bool = False

    @classmethod
    def from_review(cls, request: Object) -> Request:
        """Read the request part of an AdmissionReview."""
        return cls(
            operation=request["operation"],
            obj=copy.deepcopy(request.get("object") or {}),
            old=request.get("oldObject") or {},
            namespace=request.get("namespace") or "",
            name=request.get("name") or "",
            subresource=request.get("subResource") or "",
            user=request.get("userInfo") or {},
            dry_run=bool(request.get("dryRun")),
        )


def is_same(left: Any, right: Any) -> bool:
    """Say whether two values mean the same: absent, null and empty are one."""
    return json.dumps(_bare(left), sort_keys=True) == json.dumps(_bare(right), sort_keys=True)


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        items = {key: _bare(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item not in (None, {}, [], "")}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value
