"""A whole replay as a person sees it: the labs, the report, the closing table, the status."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.console import Console

from labrunner import environments, outcome, report, sandbox, secrets, settings, workshop
from labrunner import replay as replays
from labrunner.curriculum import Curriculum
from labrunner.errors import Interrupted
from labrunner.live import table
from labrunner.outcome import PASSED, Outcome
from labrunner.replay import Plan


def replay(
    curriculum: Curriculum, plan: Plan, console: Console, take_away: Path | None = None
) -> int:
    """Run a plan, report it, and return a shell's exit status."""
    settings.assign(curriculum, plan.labs, plan.given)  # a mistake is told before anything is done
    if plan.platform is not None:
        sandbox.settings_of(plan.platform)
    needed = dict.fromkeys(name for lab in plan.labs for name in lab.environment)
    environments.require_packages(curriculum.root, {workshop.of(lab.id) for lab in plan.labs})
    environments.ensure(curriculum.root, needed, console.print)
    try:
        outcomes = replays.replay(curriculum, plan, console)
    except KeyboardInterrupt as error:
        _report(curriculum, plan, list(outcome.load(plan.state / "outcomes.json").values()))
        raise Interrupted(
            "Interrupted; all that was started is taken down. Go on with `labs replay --resume`."
        ) from error
    _report(curriculum, plan, outcomes)
    if take_away is not None:
        report.take_away(plan, outcomes, take_away)
    console.print(table(outcomes))
    for found in outcomes:
        if found.error:
            console.print(f"{found.lab}: {found.error['name']}: {found.error['text']}")
    console.print(f"Report: {plan.out / 'report.html'}")
    is_whole = all(found.status == PASSED for found in outcomes)
    if is_whole:
        _tidy(plan)
    return 0 if is_whole else 1


def _report(curriculum: Curriculum, plan: Plan, outcomes: list[Outcome]) -> None:
    environment = dict(os.environ)
    if plan.platform is not None:
        environment.update(sandbox.settings_of(plan.platform))
    known = secrets.of_run(plan.state / "sandbox", environment)
    report.write(plan, outcomes, known, curriculum)
    outcome.save(outcomes, plan.state / "outcomes.json")


def _tidy(plan: Plan) -> None:
    """Remove what only a run that broke would need."""
    for path in plan.state.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
