"""What the cells of each lab leave in their names after a good run, when the platform behind
them is then emptied. One module a workshop: `LABS` maps a lab's id to what makes its names,
`MEASURED` excuses checkpoints that no empty platform can fail, each with the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.labs.emptied import core, logistics, mlflow, mlops
from tests.labs.emptied.place import NOWHERE, Emptied

__all__ = ["AT_THE_DOOR", "LABS", "MEASURED", "Emptied", "names"]

WORKSHOPS = (core, logistics, mlflow, mlops)
LABS = {lab: make for workshop in WORKSHOPS for lab, make in workshop.LABS.items()}

# The platform's door answers whoever knocks, also when all behind it is emptied: that it refuses
# strangers can only fail to be true where there is no door.
AT_THE_DOOR = frozenset({"Both wrong sign-ins are refused"})

MEASURED = {name: why for workshop in WORKSHOPS for name, why in workshop.MEASURED.items()}


def names(left: Emptied, lab: str, checkpoint: str = "") -> dict[str, Any]:
    """Return what the cells of a lab have made."""
    shared = {
        "place": left.place,
        "k8s": left.k8s,
        "http": left.http,
        "address": NOWHERE,
        "engine": "inference-server-x",
        "models": left.models,
        "code": left.code,
        "repo": left.place.project_repo,
        "where": {
            "group": "kubedirector.hpe.com",
            "version": "v1beta1",
            "namespace": left.k8s.namespace,
        },
    }
    own = LABS[lab](left)
    if checkpoint in AT_THE_DOOR:
        own["place"] = replace(left.place, url=NOWHERE)
    return shared | own
