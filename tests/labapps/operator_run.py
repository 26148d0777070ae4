"""Run the operator against each script of the stub, deferred and blocking; print what came of it.

The tests run this file with the interpreter of the environment `airflow`, where pytest is not.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import AirflowException, TaskDeferred

from labapps.airflow.provider import client, follow
from labapps.airflow.provider.operator import RunJobOperator
from tests.labapps.jobs_stub import KEY, SCRIPTS, Script, run, served


def context(number: int = 1, run: str = "r") -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="d", task_id="t", run_id=run, map_index=-1, try_number=number)
    return {"ti": ti}


def operator(url: str, key: str = KEY, **more: Any) -> RunJobOperator:
    os.environ["AIRFLOW_CONN_JOBS"] = json.dumps(
        {"conn_type": "http", "host": url, "password": key}
    )
    given: dict[str, Any] = {
        "task_id": "t",
        "project": "loans",
        "job": "train",
        "poll": 0.02,
    } | more
    return RunJobOperator(**given)


async def first(trigger: Any) -> Any:
    async for event in trigger.run():
        return event.payload
    return None


def task(script: Script, deferrable: bool, number: int = 1, **more: Any) -> list[str]:
    """Run one task against a script to its end; return its outcome and its sentence."""
    with served(script) as url:
        return ended(operator(url, deferrable=deferrable, **more), KEY, number)


def ended(made: RunJobOperator, key: str, number: int = 1, run: str = "r") -> list[str]:
    """Run a task to its end as worker and triggerer do; return its outcome and its sentence."""
    try:
        try:
            found = made.execute(context(number, run))
        except TaskDeferred as deferred:
            path, arguments = deferred.trigger.serialize()
            assert key not in json.dumps(arguments), "a trigger is stored in the database"
            module, _, name = path.rpartition(".")
            trigger = getattr(sys.modules[module], name)(**json.loads(json.dumps(arguments)))
            event = asyncio.run(first(trigger))
            found = made.execute_complete(context(number, run), json.loads(json.dumps(event)))
    except AirflowException as error:
        return ["failure", str(error)]
    return ["success", json.dumps(found)]


def fresh(script: Script) -> Script:
    return Script(**(vars(script) | {"stopped": [], "started": []}))


def main() -> None:
    follow.CHILD_SECONDS, client.PAUSE = 0.3, 0.05
    found: dict[str, Any] = {}
    for name, script in SCRIPTS.items():
        for mode in ("blocking", "deferrable"):
            found[f"{name}/{mode}"] = task(fresh(script), mode == "deferrable")
    for mode in ("blocking", "deferrable"):
        slow = Script([run("RUNNING")], "failure")
        found[f"too slow/{mode}"] = [*task(slow, mode == "deferrable", timeout=0.2), *slow.stopped]
        own = json.dumps({"AIRFLOW_TASK": "d/t/r/-1"})
        mine = Script([run("RUNNING") | {"environment": own}, run("SUCCEEDED")], "success")
        found[f"adopted/{mode}"] = [*task(mine, mode == "deferrable", 2), str(len(mine.started))]
        other = Script([run("RUNNING"), run("SUCCEEDED")], "success")
        found[f"not mine/{mode}"] = [*task(other, mode == "deferrable", 2), str(len(other.started))]
    for name, event in {
        "none": None,
        "text": "done",
        "empty": {},
        "odd": {"outcome": "green"},
    }.items():
        try:
            operator("http://127.0.0.1:1").execute_complete(context(), event)
            found[f"event {name}"] = ["success", ""]
        except AirflowException as error:
            found[f"event {name}"] = ["failure", str(error)]
    killed = Script([run("SUCCEEDED", run("RUNNING", job="j1"))], "failure", children=("push",))
    with served(killed) as url:
        made = operator(url)
        try:
            made.execute(context())
        except TaskDeferred as deferred:
            asyncio.run(deferred.trigger.on_kill())
        made.on_kill()
    found["killed"] = killed.stopped
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
