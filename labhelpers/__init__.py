"""What a lab imports.

    from labhelpers import begin, check, settings, wait
    from labhelpers.cluster import apply, connect, wait_configured

A name is looked up when it is first used: a lab without a platform does not load a client for one.
`labhelpers.cluster` asks the platform, `labhelpers.data` makes and reads data, `labhelpers.spark`
has what is beside a session, `labhelpers.signin` renews one that is over, and `%load_ext
labhelpers.magics` brings the magics of the training clusters.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labhelpers import cluster, data
    from labhelpers.checkpoint import begin, check
    from labhelpers.crowd import Crowd
    from labhelpers.deadline import wait
    from labhelpers.environment import password, settings
    from labhelpers.repository import file_of, fresh, project_repo, workspace
    from labhelpers.signin import save_kubeconfig
    from labhelpers.spark import refusal, spark_session
    from labshow import maps, sheet, show
    from labshow.quiz import quiz

_PLACES = {
    "labhelpers.checkpoint": ("begin", "check"),
    "labhelpers.crowd": ("Crowd",),
    "labhelpers.deadline": ("wait",),
    "labhelpers.environment": ("password", "settings"),
    "labhelpers.repository": ("file_of", "fresh", "project_repo", "workspace"),
    "labhelpers.signin": ("save_kubeconfig",),
    "labhelpers.spark": ("refusal", "spark_session"),
    "labshow.quiz": ("quiz",),
}
_MODULES = {
    "cluster": "labhelpers.cluster",
    "data": "labhelpers.data",
    "maps": "labshow.maps",
    "sheet": "labshow.sheet",
    "show": "labshow.show",
}

__all__ = ["Crowd", "begin", "check", "cluster", "data", "file_of", "fresh", "maps", "password",
           "project_repo", "quiz", "refusal", "save_kubeconfig", "settings", "sheet", "show",
           "spark_session", "wait", "workspace"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(place), name)
    raise AttributeError(f"module 'labhelpers' has no attribute {name!r}")
