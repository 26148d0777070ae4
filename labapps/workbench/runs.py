"""Runs of jobs: started once per key, followed, stopped; their log, their tree, their facts."""

from __future__ import annotations

import codecs
import hashlib
import json
from typing import Any

from labapps.workbench import state
from labapps.workbench.ask import Ask, Route
from labapps.workbench.bench import Bench
from labapps.workbench.jobs import Jobs
from labapps.workbench.layout import RUNS, Layout
from labapps.workbench.refusal import invalid, precondition
from labapps.workbench.store import Record, now, short_id

__all__ = ["Runs", "derived", "new_run"]

LOG = 1 << 20
FIELDS = ("arguments", "environment", "run_key")


class Runs:
    """The handlers of runs."""

    def __init__(self, bench: Bench, jobs: Jobs) -> None:
        self.bench, self.store, self.jobs = bench, bench.store, jobs

    def routes(self) -> list[Route]:
        all_ = "/projects/{project_id}/jobs/{job_id}/runs"
        one = all_ + "/{run_id}"
        return [
            Route("POST", all_, "create_job_run", "Start a job", self.create, FIELDS),
            Route("GET", all_, "list_job_runs", "List runs", self.list, is_list=True),
            Route("GET", one, "get_job_run", "Return a run; ?tree=1 with its children", self.get),
            Route("POST", one + ":stop", "stop_job_run", "Stop a run", self.stop),
            Route("GET", one + "/logs", "get_job_run_log", "Its output, from ?offset=", self.log),
        ]

    async def create(self, ask: Ask) -> Record:
        job = self.jobs.need(ask, "operator")
        key = ask.text("run_key", "")
        number = derived(job["id"], key) if key else short_id()
        found = self.store.get("run", number)
        if found is not None:
            return self.view(found)
        if any(run["job_id"] == job["id"] for run in self.store.live("run")):
            raise precondition(
                f"The job {job['name']} has an active run; wait for it, or stop it: POST …:stop."
            )
        if "arguments" in ask.body:
            job["arguments"] = ask.text("arguments")
        env = self.bench.environment(job) | ask.table("environment")
        record = new_run(number, job, env) | {"creator": {"username": ask.user.name}}
        self.store.add("run", job["id"], record, live=True)
        self.bench.wake()
        return self.view(record)

    def need(self, ask: Ask, level: str) -> Record:
        job = self.jobs.need(ask, level)
        return self.bench.need("run", ask.params["run_id"], job["id"])

    async def list(self, ask: Ask) -> Any:
        job = self.jobs.need(ask, "read")
        page = ask.page.mapped("status", engine)
        found, token = self.store.page("run", job["id"], page)
        return {"job_runs": [self.view(run) for run in found], "next_page_token": token}

    async def get(self, ask: Ask) -> Record:
        run = self.need(ask, "read")
        return self.tree(run) if ask.query.get("tree") in ("1", "true") else self.view(run)

    def tree(self, run: Record) -> Record:
        """Return a run with those that it caused."""
        children = self.store.find("run", parent_run_id=run["id"])
        return self.view(run) | {"children": [self.tree(child) for child in children]}

    async def stop(self, ask: Ask) -> Record:
        run = self.need(ask, "operator")
        if run["status"] not in state.FINAL:
            run |= {"stopping": True, "status": state.STOPPING}
            self.store.put("run", run, live=True)
            self.bench.wake()
        return self.view(run)

    async def log(self, ask: Ask) -> Any:
        run = self.need(ask, "read")
        text = ask.query.get("offset", "0")
        if not (text.isascii() and text.isdigit()):
            raise invalid(f"offset must be a number of bytes; found {text!r}.")
        ended = run["status"] in state.FINAL
        piece = tail(self.bench.layout, run["unit"], "log", int(text[:18]))
        end = ended and len(piece) < LOG
        words, used = decode(piece, end)
        return {"logs": words, "offset": str(int(text[:18]) + used), "end": end}

    def view(self, run: Record) -> Record:
        """Return a run as clients see it."""
        hidden = (
            "of",
            "unit",
            "submitted",
            "stopping",
            "held",
            "max_retry",
            "retry_delay",
            "retry_enabled",
            "kill_on_timeout",
            "parent_facts",
            "target",
        )
        found = {k: v for k, v in run.items() if k not in hidden}
        if "facts" not in found:
            found["facts"] = facts(self.bench.layout, run["unit"])
        return found


def new_run(number: str, job: Record, env: dict[str, str], parent: Record | None = None) -> Record:
    """Return the record of a run that is to start; its parent's facts go with it."""
    kept = ("script", "arguments", "cpu", "memory", "timeout", "retry_enabled", "max_retry",
            "kill_on_timeout", "runtime_identifier", "build_id", "build_digest",
            "target")  # fmt: skip
    moment = now()
    return {name: job[name] for name in kept} | {
        "retry_delay": job.get("retry_delay", 0),  # a job of an earlier release has none
        "id": number,
        "of": job["id"],
        "unit": f"run-{number}",
        "job_id": job["id"],
        "project_id": job["project_id"],
        "creator": job["creator"],
        "parent_run_id": parent["id"] if parent else "",
        "parent_facts": parent["facts"] if parent else {},
        "environment": json.dumps(env),
        "status": state.SCHEDULING,
        "reason": "",
        "attempts": 0,
        "held": False,
        "submitted": False,
        "stopping": False,
        "created_at": moment,
        "scheduling_at": moment,
        "starting_at": "",
        "running_at": "",
        "finished_at": "",
    }


def derived(*words: str) -> str:
    """Return the id that these words always give: what is started twice by it starts once.

    >>> derived("job", "key") == derived("job", "key") != derived("job", "another")
    True
    """
    text = hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()
    return "-".join(text[at : at + 4] for at in (0, 4, 8, 12))


def engine(status: str) -> str:
    """Return a state as records have it; filters write it in lower case, without prefix.

    >>> engine("succeeded"), engine("ENGINE_FAILED")
    ('ENGINE_SUCCEEDED', 'ENGINE_FAILED')
    """
    return status if status.startswith("ENGINE_") else f"ENGINE_{status.upper()}"


def decode(piece: bytes, is_end: bool) -> tuple[str, int]:
    """Return a piece of a log as text and how many bytes that is: no letter is cut in two.

    >>> decode("é".encode()[:1], False), decode("aé".encode()[:2], True)
    (('', 0), ('a\ufffd', 2))
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(piece, final=is_end)
    return text, len(piece) - len(decoder.getstate()[0])


def tail(layout: Layout, unit: str, name: str, offset: int = 0) -> bytes:
    """Return what a file of a run has from an offset on."""
    return layout.folder(RUNS, unit).tail([name], offset, LOG)


def facts(layout: Layout, unit: str) -> dict[str, Any]:
    """Return what a script published: the last value of each name."""
    found: dict[str, Any] = {}
    for line in tail(layout, unit, "facts").splitlines():
        try:
            found |= json.loads(line)
        except (ValueError, TypeError):
            continue
    return found
