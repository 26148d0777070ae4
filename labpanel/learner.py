"""What a learner asks for: prepare the platform for a lab, undo a lab."""

from __future__ import annotations

import platformdirs
from rich.console import Console

from labhelpers import progress
from labrunner import notebook, sandbox, session, source
from labrunner.curriculum import Curriculum, Lab
from labrunner.errors import LabError
from labrunner.replay import Plan
from labspark.place import home, project_repo

CLEAN_UP = "Clean up"
FINISHED = "finished"  # the parameter that lets a clean-up remove something


def is_done(lab: Lab) -> bool:
    """Tell whether every checkpoint of a lab that the learner met has passed."""
    met = progress.load().get(lab.id, {})
    return bool(met) and all(entry.get("passed") for entry in met.values())


def prepare(curriculum: Curriculum, lab: Lab, console: Console) -> int:
    """Replay what is missing before a lab, against the platform there is."""
    missing = tuple(one for one in curriculum.with_needs(lab)[:-1] if not is_done(one))
    if not missing:
        console.print(f"Nothing is missing: type `labs open {lab.id}`.")
        return 0
    _require_platform(missing)
    console.print(f"Before {lab.id}: {', '.join(one.id for one in missing)}.")
    plan = Plan(missing, platformdirs.user_cache_path("house-on-the-lake") / "prepare")
    return session.replay(curriculum, _own(plan), console)


def reset(curriculum: Curriculum, lab: Lab, console: Console) -> int:
    """Run the set-up and the clean-up of a lab, and forget its checkpoints."""
    _require_platform((lab,))
    cells = notebook.cells_in(notebook.text_to_run(curriculum, lab))
    asks = any(one.name == FINISHED for one in source.parameters(cells))
    plan = Plan(
        (lab,),
        platformdirs.user_cache_path("house-on-the-lake") / "reset",
        given={FINISHED: True} if asks else {},
        sections=("Parameters", "Setup", CLEAN_UP),
    )
    status = session.replay(curriculum, _own(plan), console)
    if status == 0:
        with progress.rewrite() as kept:
            kept.pop(lab.id, None)
    return status


def _own(plan: Plan) -> Plan:
    """Make a plan write to the learner's own progress and project repository."""
    from dataclasses import replace

    return replace(plan, home=home(), project=project_repo())


def _require_platform(labs: tuple[Lab, ...]) -> None:
    if any(lab.platform for lab in labs) and not sandbox.is_configured():
        raise LabError(
            "Expected a platform, found none in the environment. Type `labsandbox up --detach` and "
            '`eval "$(labsandbox env)"`, or use a terminal inside `make lab`.'
        )
