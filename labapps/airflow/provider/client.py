"""The jobs' API as the operator needs it: find, start, look, read, stop.

What may be asked twice is asked again when the network or the server fails. Starting may be: a
start carries a key, and the same key always means the same run.
"""

from __future__ import annotations

import json
import time
from typing import Any

import requests

__all__ = ["Busy", "Gone", "Jobs", "JobsError", "Refused", "Unreachable", "environment_of"]

PATIENCE = 30.0
"""Seconds for which a request is repeated while the server fails."""
PAUSE = 0.5
PRECONDITION = 9  # of grpc-gateway's codes
Json = dict[str, Any]


class JobsError(Exception):
    """The base of what the jobs' API cannot do; the text says what to do next.

    JobsError
    ├── Refused       the key or the request is refused
    │   └── Busy      the job has a run already
    ├── Gone          there is no such project, job or run
    └── Unreachable   no good answer came in time
    """


class Refused(JobsError):
    """The server refused the request."""


class Busy(Refused):
    """The job has an active run."""


class Gone(JobsError):
    """What was asked for does not exist."""


class Unreachable(JobsError):
    """The server did not answer, or failed, for too long."""


class Jobs:
    """A client of one workbench, below /api/v2."""

    def __init__(self, url: str, key: str, verify: bool | str = True,
                 patience: float = PATIENCE) -> None:  # fmt: skip
        self.url, self.patience = url.rstrip("/"), patience
        self.session = requests.Session()
        self.session.verify, self.session.trust_env = verify, False
        self.session.headers["Authorization"] = f"Bearer {key}"

    def ask(self, verb: str, path: str, body: Json | None = None) -> Json:
        """Send a request until there is an answer that will not change."""
        end = time.monotonic() + self.patience
        while True:
            problem = ""
            try:
                reply = self.session.request(
                    verb, f"{self.url}/api/v2{path}", json=body, timeout=30
                )
                if reply.status_code < 500 and reply.status_code != 429:
                    return self._answer(verb, path, reply)
                problem = f"HTTP {reply.status_code}"
            except (requests.ConnectionError, requests.Timeout) as error:
                problem = type(error).__name__
            if time.monotonic() > end:
                raise Unreachable(
                    f"Expected an answer of {self.url} to {verb} {path}; found {problem} for "
                    f"{self.patience:g} s. Check that the workbench runs, then clear the task."
                )
            time.sleep(PAUSE)

    def _answer(self, verb: str, path: str, reply: requests.Response) -> Json:
        try:
            found = reply.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(
                f"{self.url} answered {verb} {path} with HTTP {reply.status_code} and no JSON. "
                "Check the host of the connection."
            )
        message = str(found.get("message") or found.get("error") or reply.status_code)
        if reply.status_code in (401, 403):
            raise Refused(f"The connection's key is refused: {message}")
        if reply.status_code == 404:
            raise Gone(message)
        if reply.status_code >= 400:
            raise (Busy if found.get("code") == PRECONDITION else Refused)(message)
        return found

    def project(self, name: str) -> str:
        """Return the id of a project by its name or id."""
        return self._named("/projects", "projects", "project", name)

    def job(self, project: str, name: str) -> str:
        """Return the id of a job of a project by its name or id."""
        return self._named(f"/projects/{project}/jobs", "jobs", "job", name)

    def _named(self, path: str, key: str, what: str, name: str) -> str:
        found = self._all(path, key)
        for field in ("id", "name"):
            for one in found:
                if one[field] == name:
                    return str(one["id"])
        names = ", ".join(sorted(str(one["name"]) for one in found)) or "none"
        raise Gone(f"Expected the {what} {name!r}; there are: {names}.")

    def _all(self, path: str, key: str) -> list[Json]:
        found: list[Json] = []
        token = ""
        while True:
            page = self.ask(
                "GET", f"{path}?page_size=100" + (f"&page_token={token}" if token else "")
            )
            found += page[key]
            token = page.get("next_page_token") or ""
            if not token:
                return found

    def expected(self, project: str, job: str) -> Json:
        """Return the jobs that follow a job, as a tree of names by id."""
        children: dict[str, list[Json]] = {}
        names: dict[str, str] = {}
        for one in self._all(f"/projects/{project}/jobs", "jobs"):
            names[one["id"]] = one["name"]
            if parent := one.get("parent_id") or one.get("parent_job_id"):
                children.setdefault(parent, []).append(one)

        def tree(number: str) -> Json:
            below = [tree(child["id"]) for child in children.get(number, [])]
            return {"job": number, "name": names.get(number, number), "children": below}

        return tree(job)

    def start(self, project: str, job: str, key: str, arguments: str | None = None,
              environment: dict[str, str] | None = None) -> Json:  # fmt: skip
        """Start a run, or return the one that this key started."""
        body: Json = {"run_key": key, "environment": environment or {}}
        if arguments is not None:
            body["arguments"] = arguments
        return self.ask("POST", f"/projects/{project}/jobs/{job}/runs", body)

    def runs(self, project: str, job: str) -> list[Json]:
        """Return the runs of a job."""
        return self._all(f"/projects/{project}/jobs/{job}/runs", "job_runs")

    def tree(self, project: str, job: str, run: str) -> Json:
        """Return a run with the runs that it caused."""
        return self.ask("GET", f"/projects/{project}/jobs/{job}/runs/{run}?tree=1")

    def log(self, project: str, job: str, run: str, offset: int) -> tuple[str, int]:
        """Return the output of a run from an offset on, and the next offset."""
        path = f"/projects/{project}/jobs/{job}/runs/{run}/logs?offset={offset}"
        found = self.ask("GET", path)
        return str(found["logs"]), int(found["offset"])

    def stop(self, project: str, job: str, run: str) -> Json:
        """Stop a run."""
        return self.ask("POST", f"/projects/{project}/jobs/{job}/runs/{run}:stop")


def environment_of(run: Json) -> dict[str, str]:
    """Return the environment that a run was started with.

    >>> environment_of({"environment": '{"A": "b"}'}), environment_of({})
    ({'A': 'b'}, {})
    """
    found = run.get("environment") or {}
    return dict(json.loads(found) if isinstance(found, str) else found)
