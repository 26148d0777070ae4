"""Snapshots of the reconciler's own plans, which show what a change of its code changes.

`python -m tests.sandbox.kubedirector.snapshots` writes them. They are regression tests: this code
wrote them, so they say nothing about a real KubeDirector. A file holds one scenario of a kdcluster,
pass by pass: the observed status, then all a pass decides (the status it writes, the objects it
makes, changes or deletes, the jobs, the events).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labsandbox.kubedirector.reconcile.plan import Bump, Create, Delete, Patch, Plan

from .simulation import World, exited, make_cluster, make_role

FOLDER = Path(__file__).parent / "snapshot"
Object = dict[str, Any]


def create() -> Iterator[World]:
    """A cluster with two roles is made."""
    yield World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer", 2)))


def resize() -> Iterator[World]:
    """A member is added to a role, and taken away again."""
    world = World(make_cluster())
    world.settle()
    for members in (2, 1):
        world.change_spec(roles=[make_role("LoadBalancer"), make_role("RESTServer", members)])
        yield world


def reconnect() -> Iterator[World]:
    """A connected ConfigMap changes; the start script fails, then it succeeds."""
    world = World(make_cluster(make_role("LoadBalancer"), connections={"configmaps": ["model"]}))
    world.settle()
    for version, code in (("7", 4), ("8", 0)):
        world.answer = exited(code, "", "bad model\n" if code else "")
        meta = {"name": "model", "resourceVersion": version}
        world.connected["configmaps"] = {"model": {"metadata": meta}}
        yield world


def restart() -> Iterator[World]:
    """A container is replaced."""
    world = World(make_cluster(make_role("LoadBalancer")))
    world.settle()
    world.restart(world.member()["pod"])
    yield world


SCENARIOS: dict[str, Callable[[], Iterator[World]]] = {
    scenario.__name__: scenario for scenario in (create, resize, reconnect, restart)
}


def take(scenario: Callable[[], Iterator[World]]) -> list[Object]:
    """Return the passes of a scenario until nothing changes any more."""
    passes: list[Object] = []
    for world in scenario():
        for _ in range(40):
            before = copy.deepcopy(world.cluster.get("status") or {})
            plan = world.step()
            passes.append({"observed": before, "plan": describe(plan, before)})
            if plan.status is None or plan.status == before:
                break
    return json.loads(json.dumps(passes))  # type: ignore[no-any-return]


def describe(plan: Plan, before: Object) -> Object:
    """Return a plan as plain data."""
    return {
        "status": plan.status if plan.status != before else "as observed",
        "notes": [f"{note.reason}: {note.message}" for note in plan.notes],
        "actions": [describe_action(action) for action in plan.actions],
        "jobs": [
            f"{job.kind} {job.pod} in {job.container}"
            + (f" version {job.version}" if job.version else "")
            + (f" {' '.join(job.arguments)}" if job.arguments else "")
            for job in plan.jobs
        ],
        "annotations": plan.annotations,
        "finalizer": plan.finalizer,
    }


def describe_action(action: object) -> Object:
    """Return an action as plain data."""
    if isinstance(action, Create):
        return {"create": action.resource.plural, "object": action.obj}
    if isinstance(action, Patch):
        return {"patch": action.resource.plural, "name": action.name, "with": action.patch}
    if isinstance(action, Delete):
        return {"delete": action.resource.plural, "name": action.name}
    assert isinstance(action, Bump)
    return {"bump": action.cluster}


def main() -> None:
    """Write all snapshots anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, scenario in SCENARIOS.items():
        text = json.dumps(take(scenario), indent=1, sort_keys=True)
        (FOLDER / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
