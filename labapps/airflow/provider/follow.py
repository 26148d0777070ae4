"""Follow a run and the runs that it causes; success is an allow-list over the whole tree.

`judge` is pure. A state that nobody knows, a child that never starts and a run that vanishes are
failures with a sentence. All that a follower needs to go on elsewhere is in `Target`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from labapps.airflow.provider.client import Jobs, JobsError

__all__ = ["SUCCESS", "Follower", "Target", "conclude", "judge", "lines_of", "stop_all", "walk"]

SUCCEEDED = "ENGINE_SUCCEEDED"
ACTIVE = frozenset({"ENGINE_SCHEDULING", "ENGINE_STARTING", "ENGINE_RUNNING", "ENGINE_STOPPING"})
BAD = {
    "ENGINE_FAILED": "failed", "ENGINE_STOPPED": "stopped", "ENGINE_TIMEDOUT": "timed out",
}  # fmt: skip
SUCCESS, FAILURE = "success", "failure"
CHILD_SECONDS = 30.0
"""Seconds after the end of a parent in which an expected child must have started."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Which run to follow; there is no secret in it."""

    connection: str
    project: str
    job: str
    run: str
    name: str = ""

    def as_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """What became of a tree: its outcome, nothing yet, or children that are late."""

    outcome: str  # success, failure, or empty while it goes on
    message: str = ""
    late: tuple[str, ...] = ()  # names of expected jobs that have no run, though the parent ended


def judge(tree: Json, expected: Json) -> Verdict:
    """Judge a run with its descendants against the jobs that were expected to follow.

    >>> tree = {"job_id": "a", "id": "r", "status": "ENGINE_SUCCEEDED", "children": []}
    >>> judge(tree, {"job": "a", "name": "load", "children": []}).outcome
    'success'
    >>> judge(tree | {"status": "ENGINE_CONFUSED"}, {"job": "a", "name": "load"}).message
    'Job load, run r: the state ENGINE_CONFUSED is unknown; only ENGINE_SUCCEEDED is a success.'
    """
    late: list[str] = []
    verdicts = [_state(run, name) for run, name, _ in walk(tree, expected)]
    for verdict in verdicts:
        if verdict.outcome == FAILURE:
            return verdict
    for run, _, wanted in walk(tree, expected):
        if run.get("status") == SUCCEEDED:
            there = {child.get("job_id") for child in run.get("children") or []}
            late += [one["name"] for one in wanted if one["job"] not in there]
    if late or any(not verdict.outcome for verdict in verdicts):
        return Verdict("", late=tuple(late))
    return Verdict(SUCCESS)


def _state(run: Json, name: str) -> Verdict:
    status, where = str(run.get("status") or "missing"), f"Job {name}, run {run.get('id')}"
    if status == SUCCEEDED:
        return Verdict(SUCCESS)
    if status in ACTIVE:
        return Verdict("")
    if word := BAD.get(status):
        reason = str(run.get("reason") or "").strip()
        return Verdict(FAILURE, f"{where}: {word}" + (f" ({reason})." if reason else "."))
    return Verdict(
        FAILURE, f"{where}: the state {status} is unknown; only {SUCCEEDED} is a success."
    )


def walk(tree: Json, expected: Json) -> Iterator[tuple[Json, str, list[Json]]]:
    """Yield each run of a tree with the name of its job and the jobs that should follow it."""
    wanted = list(expected.get("children") or [])
    yield tree, str(expected.get("name") or tree.get("job_id")), wanted
    by_job = {one["job"]: one for one in wanted}
    for child in tree.get("children") or []:
        number = child.get("job_id")
        yield from walk(child, by_job.get(number, {"job": number, "name": number}))


def lines_of(tree: Json, expected: Json) -> list[str]:
    """Return a tree of runs as lines of text."""
    found: list[str] = []

    def add(run: Json, wanted: Json, depth: int) -> None:
        status = str(run.get("status") or "missing").removeprefix("ENGINE_")
        name = wanted.get("name") or run.get("job_id")
        found.append(f"{'   ' * depth}{'└─ ' if depth else ''}{name} {run.get('id')}: {status}")
        by_job = {one["job"]: one for one in wanted.get("children") or []}
        for child in run.get("children") or []:
            add(child, by_job.pop(child.get("job_id"), {"name": child.get("job_id")}), depth + 1)
        for one in by_job.values():
            found.append(f"{'   ' * (depth + 1)}└─ {one['name']}: no run")

    add(tree, expected, 0)
    return found


class Follower:
    """Looks at a run again and again; each look gives new lines and, at the end, an event."""

    def __init__(self, jobs: Jobs, target: Target, expected: Json, deadline: float = 0.0) -> None:
        self.jobs, self.target, self.expected = jobs, target, expected
        self.deadline = deadline  # seconds since 1970; 0 for none
        self.offsets: dict[str, int] = {}
        self.rest: dict[str, str] = {}
        self.late_since = 0.0
        self.lasts: dict[str, str] = {}  # the last line of each run
        self.last = ""  # of the run that failed

    def look(self) -> tuple[list[str], Json | None]:
        """Return the lines that are new, and the event when the run is over."""
        if self.deadline and time.time() > self.deadline:
            stop_all(self.jobs, self.target)
            message = f"Job {self.name} exceeded the timeout of its task and was stopped."
            return [], self.event(FAILURE, message)
        try:
            tree = self.jobs.tree(self.target.project, self.target.job, self.target.run)
            verdict = judge(tree, self.expected)
            lines = self._lines(tree)
        except JobsError as error:
            return [], self.event(FAILURE, f"Job {self.name}, run {self.target.run}: {error}")
        message = verdict.message
        if verdict.late and not verdict.outcome:
            self.late_since = self.late_since or time.monotonic()
            if time.monotonic() - self.late_since > CHILD_SECONDS:
                names = ", ".join(verdict.late)
                message = (
                    f"Expected a run of {names} after {self.name}; none started within "
                    f"{CHILD_SECONDS:g} s. Look at the jobs' parents in the workbench."
                )
                return lines, self.event(FAILURE, message, tree)
        else:
            self.late_since = 0.0
        if not verdict.outcome:
            return lines, None
        if verdict.outcome == FAILURE and self.last:
            message += f" Its last line: {self.last}"
        return lines, self.event(verdict.outcome, message, tree)

    @property
    def name(self) -> str:
        return self.target.name or self.target.job

    def event(self, outcome: str, message: str, tree: Json | None = None) -> Json:
        """Return what a trigger hands to its operator: everything, since it may be elsewhere."""
        shown = lines_of(tree, self.expected) if tree else []
        return {
            "outcome": outcome,
            "message": message,
            "target": self.target.as_dict(),
            "tree": shown,
            "facts": facts_of(tree) if tree else {},
        }

    def _lines(self, tree: Json) -> list[str]:
        """Return what all runs of the tree have written since the last look."""
        found: list[str] = []
        for run, name, _ in walk(tree, self.expected):
            number, project = str(run["id"]), self.target.project
            while True:
                offset = self.offsets.get(number, 0)
                text, self.offsets[number] = self.jobs.log(project, run["job_id"], number, offset)
                whole = self.rest.get(number, "") + text
                *lines, rest = whole.split("\n")
                if not text and rest and run.get("status") not in ACTIVE:  # no more will come
                    lines, rest = [*lines, rest], ""
                self.rest[number] = rest
                found += [f"[{name}] {line}" for line in lines]
                # The last line of a run that fails may have come with an earlier look.
                written = [line.strip() for line in lines if line.strip()]
                self.lasts[number] = written[-1] if written else self.lasts.get(number, "")
                if not text:
                    break
            if run.get("status") not in (SUCCEEDED, *ACTIVE):
                self.last = self.lasts[number] or self.last
        return found


def facts_of(tree: Json) -> Json:
    """Return the facts that the runs of a tree have published, by the id of their job."""
    found: Json = {}
    for run, _, _ in walk(tree, {}):
        found |= run.get("facts") or {}
    return found


def conclude(event: object) -> tuple[bool, str, Json]:
    """Return whether an event is a success, its sentence, and the event; anything else failed.

    >>> conclude("done")[:2]
    (False, "The trigger's event cannot be read: done")
    """
    if event is None:
        return False, (
            "The trigger ended without an event; look at the run in the workbench, then clear "
            "the task."
        ), {}  # fmt: skip
    if not isinstance(event, dict) or "outcome" not in event:
        return False, f"The trigger's event cannot be read: {str(event)[:200]}", {}
    if event["outcome"] == SUCCESS:
        return True, "", event
    return False, str(event.get("message") or f"The outcome is {event['outcome']!r}."), event


def stop_all(jobs: Jobs, target: Target) -> list[str]:
    """Stop a run and those that it caused; return the ids that were stopped."""
    stopped: list[str] = []
    try:
        tree = jobs.tree(target.project, target.job, target.run)
        for run, _, _ in walk(tree, {}):
            if run.get("status") in ACTIVE:
                jobs.stop(target.project, run["job_id"], run["id"])
                stopped.append(str(run["id"]))
    except JobsError:
        return stopped
    return stopped
