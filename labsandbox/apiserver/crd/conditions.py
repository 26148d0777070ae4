"""NamesAccepted and Established: may a definition use its names, and is it served?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
FIELDS = (
    ("plural", "PluralConflict", "resources"),
    ("singular", "SingularConflict", "resources"),
    ("shortNames", "ShortNamesConflict", "resources"),
    ("kind", "KindConflict", "kinds"),
    ("listKind", "ListKindConflict", "kinds"),
)


def _taken(crd: Json, others: Iterable[Json]) -> dict[str, set[str]]:
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["spec"]["group"] != crd["spec"]["group"]:
            continue
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources.update((names.get("plural", ""), names.get("singular", "")))
        resources.update(names.get("shortNames") or ())
        kinds.update((names.get("kind", ""), names.get("listKind", "")))
    return {"resources": resources, "kinds": kinds}


def _conflict(wanted: str, accepted: str, taken: set[str]) -> str:
    if wanted == accepted or wanted not in taken:
        return ""
    return f'"{wanted}" is already in use'


def _short_names(wanted: list[str], accepted: list[str], taken: set[str]) -> str:
    if wanted == accepted:
        return ""
    errors = [_conflict(name, "", taken) for name in wanted if name not in accepted]
    errors = [error for error in errors if error]
    return errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]" if errors else ""


def accepted_names(crd: Json, others: Iterable[Json]) -> tuple[Json, Json]:
    """(acceptedNames, NamesAccepted condition) of a definition among all stored ones."""
    taken = _taken(crd, others)
    wanted: Json = crd["spec"]["names"]
    accepted: Json = (crd.get("status") or {}).get("acceptedNames") or {}
    found = dict(accepted)
    reason, message = "", ""
    for name, conflict, where in FIELDS:
        if name == "shortNames":
            ours, theirs = wanted.get(name) or [], accepted.get(name) or []
            error = _short_names(ours, theirs, taken[where])
        else:
            error = _conflict(wanted.get(name, ""), accepted.get(name, ""), taken[where])
        if error:
            reason, message = conflict, error
        elif wanted.get(name):
            found[name] = wanted[name]
        else:
            found.pop(name, None)
    found.pop("categories", None)
    if wanted.get("categories"):
        found["categories"] = wanted["categories"]
    for name in ("plural", "kind"):
        found.setdefault(name, "")
    condition = {
        "type": "NamesAccepted",
        "status": "False" if reason else "True",
        "reason": reason or "NoConflicts",
        "message": message or "no conflicts found",
    }
    return found, condition


def _find(crd: Json, kind: str) -> Json | None:
    rows = (crd.get("status") or {}).get("conditions") or ()
    return next((row for row in rows if row["type"] == kind), None)


def conditions(crd: Json, others: Iterable[Json], now: str = "") -> list[Json]:
    """The conditions of a definition; rows that did not change keep their time."""
    _, names = accepted_names(crd, others)
    return [_timed(crd, names, now), _timed(crd, _established(crd, names), now)]


def _established(crd: Json, names: Json) -> Json:
    old = _find(crd, "Established")
    if old is not None and old["status"] == "True":
        return {key: value for key, value in old.items() if key != "lastTransitionTime"}
    if names["status"] == "True":
        reason, message = "InitialNamesAccepted", "the initial names have been accepted"
        return {"type": "Established", "status": "True", "reason": reason, "message": message}
    return {
        "type": "Established",
        "status": "False",
        "reason": "NotAccepted",
        "message": "not all names are accepted",
    }


def _timed(crd: Json, row: Json, now: str) -> Json:
    old = _find(crd, row["type"])
    if old is not None and old["status"] == row["status"]:
        return {**row, "lastTransitionTime": old.get("lastTransitionTime") or now}
    found = dict(row)
    found["lastTransitionTime"] = now
    return found


def accepted_status(crd: Json, others: Iterable[Json], now: str) -> Json:
    """The status of a stored definition: names, conditions, stored versions."""
    rows = list(others)
    names, _ = accepted_names(crd, rows)
    status = dict(crd.get("status") or {})
    kept = [
        row
        for row in status.get("conditions") or ()
        if row["type"] not in ("NamesAccepted", "Established")
    ]
    status["conditions"] = [*conditions(crd, rows, now), *kept]
    status["acceptedNames"] = names
    stored = list(status.get("storedVersions") or ())
    for version in crd["spec"]["versions"]:
        if version.get("storage") and version["name"] not in stored:
            stored.append(version["name"])
    status["storedVersions"] = stored
    return status
