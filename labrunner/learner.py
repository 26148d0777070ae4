"""What a learner asks for: prepare the platform for a lab, undo a lab, open JupyterLab."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import webbrowser
from pathlib import Path

import platformdirs
from rich.console import Console

from labhelpers import progress
from labrunner import desk, jupyter, sandbox, session
from labrunner.curriculum import Curriculum, Lab
from labrunner.errors import LabError
from labrunner.replay import Plan

CLEAN_UP = "Clean up"
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_done(lab: Lab) -> bool:
    """Tell whether every checkpoint of a lab that the learner met has passed."""
    met = progress.load().get(lab.id, {})
    return bool(met) and all(entry.get("passed") for entry in met.values())


def prepare(curriculum: Curriculum, lab: Lab, console: Console) -> int:
    """Replay what is missing before a lab, against the platform there is."""
    missing = tuple(one for one in curriculum.with_needs(lab)[:-1] if not is_done(one))
    if not missing:
        console.print(f"Nothing is missing: open {curriculum.notebook(lab)}.")
        return 0
    _require_platform(missing)
    console.print(f"Before {lab.id}: {', '.join(one.id for one in missing)}.")
    plan = Plan(missing, platformdirs.user_cache_path("house-on-the-lake") / "prepare")
    return session.replay(curriculum, _own(plan), console)


def reset(curriculum: Curriculum, lab: Lab, console: Console) -> int:
    """Run the set-up and the clean-up of a lab, and forget its checkpoints."""
    _require_platform((lab,))
    plan = Plan(
        (lab,),
        platformdirs.user_cache_path("house-on-the-lake") / "reset",
        sections=("Parameters", "Setup", CLEAN_UP),
    )
    status = session.replay(curriculum, _own(plan), console)
    if status == 0:
        progress.reset(lab.id)
    return status


def open_lab(root: Path, *, keep: bool, arguments: tuple[str, ...] = ()) -> int:
    """Open JupyterLab with a platform behind it; leave nothing running, unless asked to."""
    for number in ENDINGS:
        signal.signal(number, _end)
    try:
        with desk.claim(progress.home() / "lab") as (place, before):
            return _open(place, before, root, keep=keep, arguments=arguments)
    except desk.AlreadyOpen as error:
        jupyter.say(str(error))
        if error.address and jupyter.opens_browser(arguments):
            webbrowser.open(error.address)
        return 0


def _end(number: int, _: object) -> None:
    """Leave in order, undisturbed by a second one; Ctrl-C is the ordinary way to close."""
    for other in ENDINGS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(0 if number == signal.SIGINT else 128 + number)


def _open(
    place: desk.Desk, before: desk.Record, root: Path, *, keep: bool, arguments: tuple[str, ...]
) -> int:
    """Start both at the same time; end JupyterLab first, its kernels use the sandbox."""
    if before.pid:  # it was killed: what hung on it ends by itself, and must have ended
        desk.end_jupyter(before)
        if before.has_sandbox:
            sandbox.take_down(None, place.sandbox_log)
    needs_sandbox = not sandbox.is_configured() and sandbox.command() is not None
    jupyter.say("Starting JupyterLab" + (" and the sandbox…" if needs_sandbox else "…"))
    with contextlib.ExitStack() as stack:
        if needs_sandbox and not keep:
            stack.callback(_take_down, place)
        process = stack.enter_context(jupyter.running(place, root, arguments))
        settings = _platform(place, stack, keep=keep) if needs_sandbox else {}
        return jupyter.attend(process, place, settings)


def _platform(place: desk.Desk, stack: contextlib.ExitStack, *, keep: bool) -> dict[str, str]:
    """Start or join the learner's sandbox; one that is ours ends with us, whatever ends us."""
    lifeline = None
    if not keep:
        lifeline, ours = os.pipe()
        stack.callback(os.close, ours)
        stack.callback(os.close, lifeline)
        place.note(has_sandbox=True)
    started = sandbox.start(place.sandbox_log, lifeline=lifeline)
    place.note(has_sandbox=not (started.already or keep))
    if started.already:
        jupyter.say("The sandbox was running before; it goes on when this is closed.")
    elif keep:
        jupyter.say("The sandbox goes on when this is closed; `labsandbox down` ends it.")
    return started.environment


def _take_down(place: desk.Desk) -> None:
    if place.record.has_sandbox:
        jupyter.say("Closing the sandbox…")
        sandbox.take_down(None, place.sandbox_log)


def _own(plan: Plan) -> Plan:
    """Make a plan write to the learner's own progress and project repository."""
    from dataclasses import replace

    from labhelpers.repository import project_repo

    return replace(plan, home=progress.home(), project=project_repo())


def _require_platform(labs: tuple[Lab, ...]) -> None:
    if any(lab.platform for lab in labs) and not sandbox.is_configured():
        raise LabError(
            "Expected a platform, found none in the environment. Type `labsandbox up --detach` and "
            '`eval "$(labsandbox env)"`, or use a terminal inside `make lab`.'
        )
