"""What all handlers of a workbench share."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from labapps.workbench.ask import Ask
from labapps.workbench.keys import User
from labapps.workbench.kube import Kube
from labapps.workbench.layout import Layout
from labapps.workbench.manifest import Frame, cronjob
from labapps.workbench.metrics import Metrics
from labapps.workbench.refusal import forbidden, missing
from labapps.workbench.store import Record, Store

__all__ = ["Bench"]

LEVELS = ("read", "operator", "write", "admin")


@dataclass
class Bench:
    """A workbench: its records, its cluster, its folder, its metrics."""

    store: Store
    kube: Kube
    layout: Layout
    frame: Frame
    metrics: Metrics
    runtimes: list[Record]
    connected: dict[str, str] = field(default_factory=dict)
    replicas: dict[str, list[str]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Have the controllers look at once."""
        self.changed.set()

    def project(self, ask: Ask, level: str) -> Record:
        """Return the project of a request when its user has this permission there."""
        found = self.need("project", ask.params["project_id"])
        held = permission(found, ask.user)
        if held is None:
            raise missing(f"There is no project {found['id']} for {ask.user.name}.")
        if LEVELS.index(held) < LEVELS.index(level):
            raise forbidden(
                f"{ask.user.name} has the permission {held} in the project {found['name']}; this "
                f"needs {level}. Its owner {found['owner']['username']} can grant it: PUT "
                f"/api/v2/projects/{found['id']}/collaborators/{ask.user.name}."
            )
        return found

    def permission(self, user: User, project: str) -> str | None:
        """Return what a user may do in a project."""
        found = self.store.get("project", project)
        return permission(found, user) if found else None

    def need(self, kind: str, number: str, parent: str = "") -> Record:
        """Return a record, or say that there is none."""
        found = self.store.get(kind, number)
        if found is None or (parent and found.get("of") != parent):
            raise missing(f"There is no {kind} {number}; list what there is with GET.")
        return found

    def environment(self, job: Record) -> dict[str, str]:
        """Return the variables of a job's runs: the project's, then the job's own."""
        project = self.store.get("project", job["project_id"]) or {"environment": "{}"}
        found: dict[str, str] = json.loads(project["environment"])
        found |= json.loads(job["environment"])
        return found

    def cronjob(self, job: Record) -> dict[str, object]:
        """Return the CronJob of a job with a schedule."""
        env = json.dumps(self.environment(job))
        return cronjob(self.frame, job | {"environment": env})

    def crn(self, number: str) -> str:
        """Return the name of a model, build or deployment in this workbench."""
        return f"crn:labs:workbench:{self.frame.name}/{number}"

    def image(self, runtime: str) -> str:
        """Return the image of a runtime; without one the catalogue's first."""
        names = [str(r["image_identifier"]) for r in self.runtimes]
        if not runtime:
            return names[0]
        if runtime not in names:
            raise missing(
                f"There is no runtime {runtime}; GET /api/v2/runtimes has {', '.join(names)}."
            )
        return runtime


def permission(project: Record, user: User) -> str | None:
    """Return what a user may do in a project, the highest word of it."""
    if user.is_admin or project["owner"]["username"] == user.name:
        return "admin"
    found = project["collaborators"].get(user.name)
    if found is None and project["visibility"] == "public":
        return "read"
    return str(found) if found else None
