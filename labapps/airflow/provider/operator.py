"""Run a job of the workbench as a task, with all the jobs that follow it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from labapps.airflow.provider.client import Busy, Jobs, JobsError, environment_of
from labapps.airflow.provider.follow import ACTIVE, Follower, Target, conclude, stop_all
from labapps.airflow.provider.hook import JobsHook

__all__ = ["RunJobOperator"]

KEY = "AIRFLOW_TASK"
BUSY_SECONDS = 60.0


class RunJobOperator(BaseOperator):
    """Start a job, wait for it and for its descendants, and return the facts they published.

    `deferrable=True` waits in the triggerer and frees the slot; `False` waits in the worker, which
    is quicker for short jobs. After a retry the run of the earlier try goes on when it still runs.
    """

    template_fields: Sequence[str] = ("project", "job", "arguments", "environment")
    ui_color = "#d9e7f5"

    def __init__(
        self,
        *,
        project: str,
        job: str,
        arguments: str | None = None,
        environment: dict[str, str] | None = None,
        connection: str = "jobs",
        deferrable: bool = True,
        poll: float = 1.0,
        timeout: float = 3600.0,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.project, self.job, self.arguments = project, job, arguments
        self.environment, self.connection = environment, connection
        self.deferrable, self.poll, self.timeout = deferrable, poll, timeout
        self._target: Target | None = None

    def execute(self, context: Any) -> Any:
        """Start or adopt the run; wait here or in the triggerer."""
        try:
            jobs = JobsHook(self.connection).get_conn()
            project = jobs.project(self.project)
            job = jobs.job(project, self.job)
            expected = jobs.expected(project, job)
            run = self._start(jobs, project, job, context["ti"])
        except JobsError as error:
            raise AirflowException(str(error)) from error
        self._target = target = Target(self.connection, project, job, run["id"], self.job)
        deadline = time.time() + self.timeout
        if self.deferrable:
            from labapps.airflow.provider.trigger import RunTrigger

            self.defer(
                trigger=RunTrigger(target.as_dict(), expected, self.poll, deadline),
                method_name="execute_complete",
            )
        follower = Follower(jobs, target, expected, deadline)
        while True:
            lines, event = follower.look()
            for line in lines:
                self.log.info("%s", line)
            if event is not None:
                return self.execute_complete(context, event)
            time.sleep(self.poll)

    def _start(self, jobs: Jobs, project: str, job: str, ti: Any) -> dict[str, Any]:
        """Return the run of this task: the one that still runs, or a new one."""
        number = getattr(ti, "map_index", -1)
        task = f"{ti.dag_id}/{ti.task_id}/{ti.run_id}/{number}"
        if ti.try_number > 1:
            for run in jobs.runs(project, job):
                if environment_of(run).get(KEY) == task and run["status"] in ACTIVE:
                    self.log.info("Run %s of an earlier try is active; it is followed.", run["id"])
                    return run
        key = f"{task}/{ti.try_number}"
        environment = (self.environment or {}) | {KEY: task}
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                run = jobs.start(project, job, key, self.arguments, environment)
            except Busy:  # a run that was stopped a moment ago needs seconds to end
                if time.monotonic() > end:
                    raise
                time.sleep(1)
                continue
            self.log.info("Job %s: run %s", self.job, run["id"])
            return run

    def execute_complete(self, context: Any, event: Any = None) -> Any:
        """Judge the event: only a success is one."""
        is_success, message, found = conclude(event)
        for line in found.get("tree") or []:
            self.log.info("%s", line)
        if not is_success:
            raise AirflowException(message)
        events = context.get("outlet_events")
        if events is not None:
            for outlet in self.outlets:
                events[outlet].extra = found["facts"]  # whoever is scheduled on it reads them
        return found["facts"] | {"run_id": found["target"]["run"]}

    def on_kill(self) -> None:
        """Stop the run: the task was cleared, set to another state, or took too long."""
        if self._target is not None:
            stopped = stop_all(JobsHook(self.connection).get_conn(), self._target)
            self.log.info("Stopped runs: %s", ", ".join(stopped) or "none; all had ended")
