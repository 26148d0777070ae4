"""Jobs: what runs, with which size, when: by hand, by the clock, or after another job."""

from __future__ import annotations

import json
import shlex
import zoneinfo
from typing import Any

from croniter import croniter

from labapps.workbench import files
from labapps.workbench.ask import Ask, Route
from labapps.workbench.bench import Bench
from labapps.workbench.refusal import conflict, invalid, precondition
from labapps.workbench.store import Record, now, short_id

__all__ = ["Jobs"]

FIELDS = (
    "name", "script", "arguments", "kernel", "runtime_identifier", "runtime_addon_identifiers",
    "cpu", "memory", "nvidia_gpu", "environment", "schedule", "timezone", "paused", "parent_id",
    "parent_job_id", "timeout", "kill_on_timeout", "retry_enabled", "max_retry", "retry_delay",
    "recipients", "attachments", "build_id",
)  # fmt: skip
ZONE = "America/Los_Angeles"


class Jobs:
    """The handlers of jobs."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.store = bench, bench.store

    def routes(self) -> list[Route]:
        all_, one = "/projects/{project_id}/jobs", "/projects/{project_id}/jobs/{job_id}"
        return [
            Route("POST", all_, "create_job", "Create a job", self.create, FIELDS),
            Route("GET", all_, "list_jobs", "List the jobs of a project", self.list, is_list=True),
            Route("GET", "/jobs", "list_all_jobs", "List jobs", self.list_all, is_list=True),
            Route("GET", one, "get_job", "Return a job", self.get),
            Route("PATCH", one, "update_job", "Change a job", self.patch, FIELDS),
            Route("DELETE", one, "delete_job", "Delete a job", self.delete),
        ]

    def need(self, ask: Ask, level: str) -> Record:
        """Return the job of a request."""
        project = self.bench.project(ask, level)
        return self.bench.need("job", ask.params["job_id"], project["id"])

    async def create(self, ask: Ask) -> Record:
        project = self.bench.project(ask, "write")
        if self.store.find("job", project["id"], name=ask.text("name")):
            raise conflict(f"The project has a job {ask.text('name')!r}; choose another name.")
        record = self.fill({"id": short_id(), "of": project["id"]}, ask)
        record |= {"created_at": now(), "creator": {"username": ask.user.name}}
        self.store.add("job", project["id"], record)
        if record["schedule"]:
            try:
                await self.bench.kube.apply("cronjobs", self.bench.cronjob(record))
            except BaseException:
                self.store.delete("job", record["id"])
                raise
        self.bench.wake()
        return view(record)

    def fill(self, record: Record, ask: Ask) -> Record:
        """Read the fields of a job; refuse what cannot run."""
        project = record["of"]
        parent = ask.text("parent_id", "") or ask.text("parent_job_id", "")
        schedule = ask.text("schedule", "")
        if parent and schedule:
            raise invalid("A job has a schedule or a parent_id, not both; leave one of them out.")
        if parent:
            self.check_parent(record["id"], parent, project)
        zone = ask.text("timezone", ZONE)
        if schedule:
            check_schedule(schedule, zone)
        try:
            shlex.split(ask.text("arguments", ""))
        except ValueError as error:
            raise invalid(f"arguments cannot be split into words: {error}.") from error
        build = self.build(ask, project)
        made = build.get("image", "")
        image = ask.text("runtime_identifier", "") or made or build.get("engine_image", "")
        found = {
            "project_id": project,
            "name": ask.text("name"),
            "script": "/".join(files.split(ask.text("script", "" if build else None))),
            "build_id": build.get("id", ""),
            "build_digest": build.get("digest", ""),
            "target": build.get("target", ""),
            "arguments": ask.text("arguments", ""),
            "kernel": ask.text("kernel", ""),
            "runtime_identifier": made if made and image == made else self.bench.image(image),
            "cpu": ask.number("cpu", 1, 0.01, 64),
            "memory": ask.number("memory", 1, 0.05, 512),
            "nvidia_gpu": 0,
            "environment": json.dumps(ask.table("environment")),
            "schedule": schedule,
            "timezone": zone,
            "paused": ask.flag("paused"),
            "parent_id": parent,
            "parent_job_id": parent,
            "type": "cron" if schedule else "dependent" if parent else "manual",
            "timeout": str(int(ask.number("timeout", 0, 0, 30 * 86_400))),
            "kill_on_timeout": ask.flag("kill_on_timeout", True),
            "retry_enabled": ask.flag("retry_enabled"),
            "max_retry": int(ask.number("max_retry", 0, 0, 10)),
            "retry_delay": int(ask.number("retry_delay", 0, 0, 3600)),
        }
        if ask.number("nvidia_gpu", 0, 0, 64):
            raise invalid("nvidia_gpu must be 0: this workbench has no GPU to give.")
        return record | found

    def build(self, ask: Ask, project: str) -> Record:
        """Return the build that a job scores with; an empty one for a job with a script."""
        number = ask.text("build_id", "")
        if not number:
            return {}
        found = self.bench.need("build", number)
        if self.bench.need("model", found["model_id"])["of"] != project:
            raise invalid(f"The build {number} is another project's; name one of this project.")
        if ask.text("script", ""):
            raise invalid("A job has a script, or a build_id to score with; leave one of them out.")
        if found["status"] != "built":
            raise precondition(f"The build has the status {found['status']}; wait until built.")
        if len(shlex.split(ask.text("arguments", ""))) not in (0, 2):
            raise invalid('arguments of a scoring job are "<input> <output>", two files.')
        return found

    def check_parent(self, job: str, parent: str, project: str) -> None:
        """Refuse a parent that is not there, or that depends on the job itself."""
        seen = {job}
        while parent:
            if parent in seen:
                raise invalid(f"The job {job} would depend on itself by way of {parent}.")
            seen.add(parent)
            parent = str(self.bench.need("job", parent, project)["parent_id"])

    async def list(self, ask: Ask) -> Any:
        project = self.bench.project(ask, "read")
        found, token = self.store.page("job", project["id"], ask.page)
        return {"jobs": [view(job) for job in found], "next_page_token": token}

    async def list_all(self, ask: Ask) -> Any:
        found, token = self.store.page("job", None, ask.page, ask.user.reader)
        return {"jobs": [view(job) for job in found], "next_page_token": token}

    async def get(self, ask: Ask) -> Record:
        return view(self.need(ask, "read"))

    async def patch(self, ask: Ask) -> Record:
        record = self.need(ask, "write")
        before = record | {"environment": json.loads(record["environment"])}
        kept = {k: before[k] for k in FIELDS if k in before}
        if "parent_id" in ask.body or "parent_job_id" in ask.body:
            kept |= {"parent_id": "", "parent_job_id": ""}
        ask.body = kept | ask.body
        changed = self.fill(record, ask)
        if changed["schedule"]:
            await self.bench.kube.apply("cronjobs", self.bench.cronjob(changed))
        elif record["schedule"]:
            await self.bench.kube.delete("cronjobs", f"job-{record['id']}")
        self.store.put("job", changed)
        return view(changed)

    async def delete(self, ask: Ask) -> Record:
        record = self.need(ask, "write")
        children = [j["name"] for j in self.store.find("job", record["of"], parent_id=record["id"])]
        if children:
            raise conflict(f"{', '.join(children)} starts after this job; delete that first.")
        if any(r["job_id"] == record["id"] for r in self.store.live("run")):
            raise conflict("The job has an active run; stop it first: POST …/runs/<id>:stop.")
        if record["schedule"]:
            await self.bench.kube.delete("cronjobs", f"job-{record['id']}")
        self.store.delete("job", record["id"])
        return {}


def view(record: Record) -> Record:
    """Return a job as clients see it."""
    found = {k: v for k, v in record.items() if k not in ("of", "build_digest", "target")}
    return found | {"english_schedule": f"cron {record['schedule']}" if record["schedule"] else ""}


def check_schedule(schedule: str, zone: str) -> None:
    """Refuse what no CronJob can have."""
    if len(schedule.split()) != 5 or not croniter.is_valid(schedule):
        raise invalid(
            f"schedule must be five fields of cron, such as `0 12 * * *`; found {schedule!r}."
        )
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise invalid(f"timezone must be a name such as Europe/Zurich; found {zone!r}.") from error
