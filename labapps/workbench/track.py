"""For functions and scripts: metrics of calls, and facts of runs.

In a deployed function `metric` adds to the row of the call that is under way. From anywhere else
the other verbs talk to the workbench (WORKBENCH_URL, WORKBENCH_KEY). With `dev=True` nothing leaves
the process: the rows are kept in memory, so a function is tried before it is deployed.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import time
import urllib.error
import urllib.request
import uuid as uuids
from collections.abc import Iterator
from typing import Any

__all__ = ["TrackError", "Tracker", "call", "inherited", "metric", "publish"]

_current: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "workbench_call", default=None
)


class TrackError(Exception):
    """The workbench refused; the message is its sentence."""


def metric(name: str, value: Any) -> None:
    """Add a metric to the call that is under way; outside a call it does nothing."""
    found = _current.get()
    if found is not None:
        json.dumps(value)
        found[name] = value


def publish(name: str, value: Any) -> None:
    """Publish a fact of this run, such as a snapshot id; outside a run it does nothing."""
    path = os.environ.get("WORKBENCH_FACTS")
    line = json.dumps({name: value}) + "\n"
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line)


def inherited() -> dict[str, Any]:
    """Return the facts that the run published after whose success this one started."""
    found: dict[str, Any] = json.loads(os.environ.get("WORKBENCH_PARENT_FACTS") or "{}")
    return found


@contextlib.contextmanager
def call() -> Iterator[dict[str, Any]]:
    """Collect the metrics of one call."""
    found: dict[str, Any] = {}
    token = _current.set(found)
    try:
        yield found
    finally:
        _current.reset(token)


class Tracker:
    """The verbs on one deployment: track, track_delayed, track_aggregate, read.

    >>> tracker = Tracker("crn:dev", dev=True)
    >>> uuid = tracker.track({"score": 0.5})
    >>> tracker.track_delayed(uuid, {"truth": 1})
    >>> tracker.read()["metrics"][0]["metrics"]
    {'score': 0.5, 'truth': 1}
    """

    def __init__(self, crn: str, url: str = "", key: str = "", *, dev: bool = False) -> None:
        self.crn, self.dev = crn, dev
        self.url = url or os.environ.get("WORKBENCH_URL", "")
        self.key = key or os.environ.get("WORKBENCH_KEY", "")
        self.rows: list[dict[str, Any]] = []
        self.aggregates: list[dict[str, Any]] = []

    def track(self, metrics: dict[str, Any], uuid: str = "") -> str:
        """Record a call; return its uuid."""
        uuid, moment = uuid or str(uuids.uuid4()), int(time.time() * 1000)
        row = {"modelDeploymentCrn": self.crn, "predictionUuid": uuid, "metrics": metrics}
        if self.dev:
            json.dumps(metrics)
            stamps = {"startTimeStampMs": moment, "endTimeStampMs": moment}
            self.rows.append(row | stamps | {"metrics": dict(metrics)})
        else:
            stamps = {"startTimestampMs": moment, "endTimestampMs": moment}
            self._post("track-metrics", row | stamps)
        return uuid

    def track_delayed(self, uuid: str, metrics: dict[str, Any]) -> None:
        """Add what is known later, such as the truth, to a call."""
        if not self.dev:
            self._post("track-delayed-metrics", {"predictionUuid": uuid, "metrics": metrics})
            return
        rows = [row for row in self.rows if row["predictionUuid"] == uuid]
        if not rows:
            raise TrackError(f"There is no call with the predictionUuid {uuid}.")
        rows[0]["metrics"].update(metrics)

    def track_aggregate(self, metrics: dict[str, Any], start_ms: int, end_ms: int) -> None:
        """Record metrics of a window, such as an accuracy."""
        row = {"modelDeploymentCrn": self.crn, "metrics": metrics}
        if self.dev:
            stamps = {"startTimeStampMs": start_ms, "endTimeStampMs": end_ms}
            self.aggregates.append(row | stamps)
        else:
            stamps = {"startTimestampMs": start_ms, "endTimestampMs": end_ms}
            self._post("track-aggregate-metrics", row | stamps)

    def read(self, **window: Any) -> dict[str, Any]:
        """Return calls and aggregates; startTimestampMs, endTimestampMs and paging are options."""
        if self.dev:
            return {"metrics": self.rows, "aggregates": self.aggregates, "next_page_token": ""}
        return self._post("read-metrics", {"modelDeploymentCrn": self.crn} | window)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/{path}", json.dumps(body).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                found: dict[str, Any] = json.load(reply)
                return found
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode("utf-8", "replace")
            raise TrackError(f"The workbench answered {error.code}: {text}") from error
