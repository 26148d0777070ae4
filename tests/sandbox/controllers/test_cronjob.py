"""CronJobs: schedules that never fire, runs that were missed, zones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from labsandbox.controllers import cronjob
from labsandbox.controllers.actions import Create, Event, Replace

pytestmark = pytest.mark.fast

Object = dict[str, Any]
MADE = "2026-11-20T17:00:00Z"


def make(schedule: str, **spec: Any) -> Object:
    meta = {"name": "c", "namespace": "n", "uid": "c1", "creationTimestamp": MADE}
    template = {"spec": {"template": {"spec": {}}}}
    whole = {"schedule": schedule, "jobTemplate": template, **spec}
    return {"metadata": {**meta, "resourceVersion": "1"}, "spec": whole, "status": {}}


def at(day: int, hour: int, minute: int) -> float:
    return datetime(2026, 11, day, hour, minute, 10, tzinfo=UTC).timestamp()


def events(actions: list[Any]) -> dict[str, str]:
    return {action.reason: action.message for action in actions if isinstance(action, Event)}


def jobs(actions: list[Any]) -> list[str]:
    return [action.obj["metadata"]["name"] for action in actions if isinstance(action, Create)]


def test_schedule_that_never_fires_says_so_and_is_left_alone() -> None:
    actions = cronjob.reconcile(make("59 23 31 2 *"), [], at(20, 18, 0))
    assert events(actions) == {
        "InvalidSchedule": "invalid schedule: 59 23 31 2 * : time difference between two schedules "
        "is less than 1 second"
    }
    assert jobs(actions) == []


def test_zone_decides_when_a_job_is_due() -> None:
    tokyo = make("0 9 * * *", timeZone="Asia/Tokyo")
    assert jobs(cronjob.reconcile(tokyo, [], at(21, 0, 0))) == [
        f"c-{int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) // 60}"
    ]
    assert jobs(cronjob.reconcile(make("0 9 * * *"), [], at(21, 0, 0))) == []


def test_many_missed_runs_are_told_and_one_is_started() -> None:
    actions = cronjob.reconcile(make("* * * * *"), [], at(21, 17, 0))
    assert "TooManyMissedTimes" in events(actions)
    assert len(jobs(actions)) == 1


def test_run_that_is_missed_by_more_than_the_deadline_is_told_and_not_started() -> None:
    late = make("0 18 * * *", startingDeadlineSeconds=3600)
    late["status"]["lastScheduleTime"] = "2026-11-20T16:59:59Z"
    assert len(jobs(cronjob.reconcile(late, [], at(20, 18, 30)))) == 1
    assert jobs(cronjob.reconcile(late, [], at(20, 19, 30))) == []


def test_suspended_cron_job_starts_nothing_and_says_nothing() -> None:
    assert cronjob.reconcile(make("* * * * *", suspend=True), [], at(20, 18, 0)) == []


def test_job_that_has_ended_is_told_once_and_leaves_the_list() -> None:
    cron = make("0 0 1 1 *")
    cron["status"]["active"] = [{"uid": "j1"}]
    done = {
        "metadata": {
            "name": "c-1",
            "namespace": "n",
            "uid": "j1",
            "ownerReferences": [{"uid": "c1", "controller": True}],
        },
        "status": {
            "completionTime": MADE,
            "conditions": [{"type": "Complete", "status": "True"}],
        },
    }
    actions = cronjob.reconcile(cron, [done], at(20, 18, 0))
    assert events(actions) == {"SawCompletedJob": "Saw completed job: c-1, condition: Complete"}
    (written,) = [action for action in actions if isinstance(action, Replace)]
    assert written.obj["status"] == {"lastSuccessfulTime": MADE}
