"""A stub of the jobs' API that plays a script: what each look at a run finds, and what fails.

Standard library only: the tests of the operator run it in Airflow's environment too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.serving import serving

Json = dict[str, Any]
KEY = "a-canary-key"


@dataclass
class Script:
    """What a stub answers: trees one after the other, the last one for ever."""

    trees: list[Json]
    outcome: str  # success or failure
    sentence: str = ""  # a part of what the task says when it fails
    errors: int = 0  # so many looks are answered 500 first
    key: str = KEY
    children: tuple[str, ...] = ()  # names of jobs that follow each other after the first
    log: str = "one\ntwo\nlast words"
    stopped: list[str] = field(default_factory=list)
    started: list[Json] = field(default_factory=list)


def run(status: str, *children: Json, job: str = "j0") -> Json:
    return {
        "id": f"r-{job}",
        "job_id": job,
        "status": f"ENGINE_{status}",
        "reason": "",
        "facts": {f"fact_{job}": 1},
        "environment": "{}",
        "children": list(children),
    }


CHILD, GRAND = ("push",), ("push", "infer")
SCRIPTS: dict[str, Script] = {
    "succeeded": Script([run("SCHEDULING"), run("RUNNING"), run("SUCCEEDED")], "success"),
    "instantly finished": Script([run("SUCCEEDED")], "success"),
    "failed": Script([run("RUNNING"), run("FAILED")], "failure", "Its last line: last words"),
    "failed after its last line": Script(
        [run("RUNNING"), run("RUNNING"), run("FAILED")], "failure", "Its last line: last words",
        log="one\ntwo\nlast words\n",
    ),
    "failed before the first look": Script([run("FAILED")], "failure", "run r-j0: failed"),
    "stopped": Script([run("RUNNING"), run("STOPPED")], "failure", "stopped"),
    "timed out": Script([run("TIMEDOUT")], "failure", "timed out"),
    "unknown state": Script([run("CONFUSED")], "failure", "ENGINE_CONFUSED is unknown"),
    "skipped": Script([run("SKIPPED")], "failure", "ENGINE_SKIPPED is unknown"),
    "vanished": Script([run("RUNNING"), {}], "failure", "There is no run"),
    "child succeeded": Script(
        [run("SUCCEEDED"), run("SUCCEEDED", run("RUNNING", job="j1")),
         run("SUCCEEDED", run("SUCCEEDED", job="j1"))],
        "success", children=CHILD,
    ),
    "child failed": Script(
        [run("SUCCEEDED", run("FAILED", job="j1"))], "failure", "Job push, run r-j1: failed",
        children=CHILD,
    ),
    "grandchild failed": Script(
        [run("SUCCEEDED", run("SUCCEEDED", run("TIMEDOUT", job="j2"), job="j1"))],
        "failure", "Job infer, run r-j2: timed out", children=GRAND,
    ),
    "child never started": Script(
        [run("SUCCEEDED")], "failure", "Expected a run of push after train; none started",
        children=CHILD,
    ),
    "unexpected child failed": Script(
        [run("SUCCEEDED", run("FAILED", job="j9"))], "failure", "Job j9, run r-j9: failed",
    ),
    "three errors of the server": Script([run("SUCCEEDED")], "success", errors=3),
    "key expired": Script([run("SUCCEEDED")], "failure", "key is refused", key="another"),
}  # fmt: skip


@contextmanager
def served(script: Script) -> Iterator[str]:
    """Play a script at an address."""
    lock, looks = threading.Lock(), [0, 0]

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            return

        def answer(self, status: int, body: Json) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.endswith(":stop"):
                script.stopped.append(self.path.split("/")[-1].removesuffix(":stop"))
                return self.answer(200, {})
            script.started.append(json.loads(body))
            return self.answer(200, run("SCHEDULING"))

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {script.key}":
                return self.answer(401, {"message": "The API key is not known here.", "code": 16})
            path = self.path.partition("?")[0]
            if path.endswith("/projects"):
                return self.answer(200, {"projects": [{"id": "p", "name": "loans"}]})
            if path.endswith("/jobs"):
                names = ["train", *script.children]
                jobs = [
                    {"id": f"j{n}", "name": name, "parent_id": f"j{n - 1}" if n else ""}
                    for n, name in enumerate(names)
                ]
                return self.answer(200, {"jobs": jobs})
            if path.endswith("/runs"):
                return self.answer(200, {"job_runs": script.trees[:1]})
            if path.endswith("/logs"):
                offset = int(self.path.rpartition("=")[2])
                text = script.log[offset:]
                return self.answer(200, {"logs": text, "offset": str(offset + len(text))})
            return self.look()

        def look(self) -> None:
            with lock:
                if looks[1] < script.errors:
                    looks[1] += 1
                    return self.answer(500, {"message": "It is down.", "code": 13})
                tree = script.trees[min(looks[0], len(script.trees) - 1)]
                looks[0] += 1
            if not tree:
                return self.answer(404, {"message": "There is no run r-j0.", "code": 5})
            return self.answer(200, tree)

    with serving(Handler) as address:
        yield address
