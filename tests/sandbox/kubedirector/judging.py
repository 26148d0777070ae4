"""Short ways to ask for a judgement on a kdcluster."""

from __future__ import annotations

import copy
from typing import Any

from labsandbox.kubedirector.admission.cluster import judge_cluster, judge_early
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.admission.verdict import Request, Verdict
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import GlobalConfig

from .simulation import NAMESPACE, make_app, make_cluster

Object = dict[str, Any]
KEY = "0" * 64


def world(**changes: Any) -> World:
    """Return a platform with one of everything."""
    defaults: Object = {
        "app": make_app(),
        "settings": GlobalConfig(master_key=KEY),
        "secrets": frozenset({"s"}),
        "service_accounts": frozenset({"sa"}),
        "storage_classes": frozenset({"fast"}),
    }
    return World(**(defaults | changes))


def judge(new: Object, old: Object | None = None, seen: World | None = None) -> Verdict:
    """Judge a kdcluster whose spec is new."""
    operation = "UPDATE" if old else "CREATE"
    before = copy.deepcopy(old or {})
    request = Request(operation, copy.deepcopy(new), before, NAMESPACE, "training")
    return judge_cluster(request, seen or world())


def stored(**status: Any) -> Object:
    """Return a kdcluster as it lies in the API server, settled."""
    cluster = make_cluster()
    cluster["status"] = {"state": "configured", "observedGeneration": 1, "roles": [], **status}
    return cluster


def changed(cluster: Object, **spec: Any) -> Object:
    """Return a copy with another spec."""
    found = copy.deepcopy(cluster)
    found["spec"] |= spec
    return found


def early(
    operation: str,
    new: Object,
    old: Object | None = None,
    codes: Codes | None = None,
    subresource: str = "",
) -> Verdict | None:
    """Judge without looking at the rest of the platform."""
    request = Request(operation, new, old or {}, NAMESPACE, "training", subresource)
    return judge_early(request, codes or Codes())
