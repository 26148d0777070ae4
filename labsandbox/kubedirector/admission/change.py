"""Judge a change: what of a kdcluster may never change, and what not while members exist."""

from __future__ import annotations

import copy
from typing import Any

from labsandbox import quantity
from labsandbox.kubedirector.admission.verdict import is_same
from labsandbox.kubedirector.model import Object, roles_of


def check_changes(cluster: Object, old: Object) -> list[str]:
    """Return what is wrong with turning `old` into `cluster`, defaults filled in."""
    errors = [
        f"The {name} property is read-only."
        for name in ("app", "appCatalog")
        if cluster["spec"].get(name) != old["spec"].get(name)
    ]
    before = {role["id"]: role for role in roles_of(old)}
    alive = {role["id"] for role in (old.get("status") or {}).get("roles") or []}
    for role in roles_of(cluster):
        name = role["id"]
        # A role that was removed and still has members must be gone before it can come back.
        if name in alive and not (name in before and _is_same_role(role, before[name])):
            errors.append(
                f"Role({name}) properties other than the members count cannot be modified while "
                "role members exist."
            )
    return errors


def _is_same_role(role: Object, before: Object) -> bool:
    return is_same(_comparable(role), _comparable(before))


def _comparable(role: Object) -> Object:
    found = copy.deepcopy(role)
    found.pop("members", None)
    for amounts in (found.get("resources") or {}).values():
        for name, amount in (amounts or {}).items():
            amounts[name] = _number(amount)
    return found


def _number(amount: Any) -> str:
    try:
        return str(quantity.amount(amount).normalize())
    except ValueError:
        return str(amount)
