"""What a learner of each lab reads and writes, as a table: `python -m tests.labs.sizes [WORKSHOP]`.

Code lines hold code: blank lines and comments do not count. A cell with `check(` or `quiz(` holds
hints and answers; the build collapses it, so its lines are not visible until somebody unfolds them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from labrunner import notebook
from labrunner.curriculum import Curriculum, Lab, load
from tests.repo.tree import ROOT

COLUMNS = ("lab", "minutes", "code lines", "of check/quiz", "of these visible", "blanks")


def rows(curriculum: Curriculum, labs: list[Lab]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each lab."""
    for lab in labs:
        cells = json.loads(notebook.build(curriculum, lab))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        judges = [cell for cell in code if notebook.JUDGES.search("".join(cell["source"]))]
        seen = [
            one for one in judges if not one["metadata"].get("jupyter", {}).get("source_hidden")
        ]
        total, asked, visible = (sum(map(lines, part)) for part in (code, judges, seen))
        blanks = sum("blank" in cell["metadata"].get("tags", ()) for cell in code)
        share = f"{asked / total:.0%}" if total else "0%"
        yield (lab.id, str(lab.minutes), str(total), share, str(visible), str(blanks))


def lines(cell: dict[str, list[str]]) -> int:
    """Count the lines of code in a cell."""
    written = [line.strip() for line in cell["source"]]
    return sum(bool(line) and not line.startswith("#") for line in written)


def main(workshops: list[str]) -> None:
    """Print the table as Markdown."""
    curriculum = load(ROOT)
    chosen = workshops or [one.id for one in curriculum.workshops]
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for row in rows(curriculum, [lab for one in chosen for lab in curriculum.labs_of(one)]):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
