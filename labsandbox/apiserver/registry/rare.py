"""The kinds that no lab, no application and no part of the platform asks for.

They are here because real clients of Kubernetes ask for them, and they behave as on a
kube-apiserver. A reader who wants the core skips three modules of this name: this one,
`validation/rare.py` and `printers/rare.py`; the rows are in `rare.json`. A test says when one of
them comes into use and belongs to the core.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

Row = dict[str, Any]

RETURNS_OBJECT = {"csidrivers", "csinodes", "volumeattachments"}
GENERATION = {
    "flowschemas",
    "ingressclasses",
    "prioritylevelconfigurations",
    "validatingadmissionpolicybindings",
}
CONDITIONAL = {
    "csidrivers",
    "csinodes",
    "flowschemas",
    "prioritylevelconfigurations",
    "runtimeclasses",
    "validatingadmissionpolicybindings",
    "volumeattachments",
}


def among(core: list[Row]) -> list[Row]:
    """Return all rows in the order of discovery: a rare one names the row it comes after."""
    found = list(core)
    for row in json.loads(files(__package__ or "").joinpath("rare.json").read_bytes()):
        before = row.pop("after")
        place = next(number for number, one in enumerate(found) if _name(one) == before)
        found.insert(place + 1, row)
    return found


def _name(row: Row) -> str:
    return f"{row['plural']}.{row['group']}/{row['version']}"
