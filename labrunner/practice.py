"""The practice way through a lab: a few cells are blanks that the learner fills in.

A cell with the tag `blank` is written once, as its solution. The build keeps what a learner gets
instead in the cell's metadata, so a practice copy comes from any released notebook, without the
source. The checkpoint that follows judges it, and shows the solution below its third hint.
"""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labrunner.draft import python_of
from labrunner.errors import BadSource
from labrunner.outcome import Outcome

PROBE, MUST_FAIL = "probe", "must-fail"
_MAY_FAIL = "raises-exception"  # nbclient's tag


def has_blanks(text: str) -> bool:
    """Tell whether a built notebook has cells to practise on."""
    return next(_blanks(json.loads(text)), None) is not None


def copy_of(text: str) -> str:
    """Return the practice copy of a built notebook."""
    notebook = json.loads(text)
    solutions: dict[str, str] = {}
    for at, judge in list(_blanks(notebook)):
        cell = notebook["cells"][at]
        name = checkpoint_of(notebook["cells"][judge])
        solved = "".join(cell["source"])
        solutions[name] = f"{solutions[name]}\n\n\n{solved}" if name in solutions else solved
        _empty(cell)
    notebook["metadata"]["labs"] = {"solutions": solutions}
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def proof_of(text: str) -> str:
    """Return a notebook that runs each blank up to its checkpoint before it runs the solution."""
    notebook = json.loads(text)
    cells, built = notebook["cells"], list(notebook["cells"])
    for at, judge in reversed(list(_blanks(notebook))):
        probe = [copy.deepcopy(one) for one in built[at : judge + 1] if one["cell_type"] == "code"]
        _empty(probe[0])
        for one in probe:
            one["id"] = f"{one['id']}-at-{at}"
            one["metadata"]["tags"] = [PROBE, _MAY_FAIL]
        probe[-1]["metadata"]["tags"].append(MUST_FAIL)
        cells[at:at] = probe
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def judge(found: Outcome, executed: Path) -> None:
    """Fail the outcome of a proof when a checkpoint accepted a blank."""
    cells = json.loads(executed.read_text("utf-8"))["cells"]
    probes = [cell for cell in cells if MUST_FAIL in cell["metadata"].get("tags", ())]
    accepted = [
        checkpoint_of(cell)
        for cell in probes
        if not any(output.get("ename") == "CheckFailed" for output in cell["outputs"])
    ]
    if accepted:
        found.fail(
            "BlankAccepted",
            f"expected each of the {len(probes)} blanks to fail its checkpoint, found that these "
            f"did not fail: {', '.join(accepted)}. Make the stub or the checkpoint stricter.",
        )


def checkpoint_of(cell: Any) -> str:
    """Return the name of a cell's first checkpoint; nothing when it has none.

    >>> checkpoint_of({"cell_type": "code", "source": ["x = 1\\n", "check('It is one', x == 1)"]})
    'It is one'
    """
    try:
        body = python_of("".join(cell["source"])).body if cell["cell_type"] == "code" else []
    except BadSource:
        return ""
    for node in body:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "check":
            name = call.args[0] if call.args else None
            return str(name.value) if isinstance(name, ast.Constant) else ""
    return ""


def _blanks(notebook: Any) -> Iterator[tuple[int, int]]:
    """Yield where each blank is, and where the checkpoint that judges it."""
    cells = notebook["cells"]
    for at, cell in enumerate(cells):
        if "practice" in cell["metadata"].get("labs", {}):
            judges = (one for one in range(at + 1, len(cells)) if checkpoint_of(cells[one]))
            if (found := next(judges, None)) is not None:
                yield at, found


def _empty(cell: Any) -> None:
    """Put what the learner gets in the place of the solution."""
    cell["source"] = cell["metadata"].pop("labs")["practice"].splitlines(keepends=True)
