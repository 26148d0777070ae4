"""Rules about the code in a lab's cells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from labrunner import source
from labrunner.draft import Draft, python_of
from labrunner.forbidden import ASKS_WHERE, MACHINE_PATH, UNVERIFIED

OURS = (
    "labrunner", "labpanel", "labclass", "labsandbox", "labapps", "labdata", "labspark", "labshow",
    "labkube",
)  # fmt: skip
MOST_IMPORTS = 3  # lines with which a lab takes what it needs of labhelpers
INSTALLS = re.compile(
    r"\b(?:pip|pip3|conda|mamba|uv|apt|apt-get|brew)\s+(?:-\S+ +)*(?:install|add|sync|get)\b"
)
DOWNLOADS = re.compile(r"\b(?:wget|urlretrieve|git\s+clone|hf_hub_download|nltk\.download)\b")
OF_A_REPLAY = re.compile(r"PAPERMILL", re.I)
HOME = re.compile(r"(?<![\w.])/(?:home|Users)/\w+")  # a container's, too
DOES = re.compile(r"(?:write|create|patch|replace|delete)(?:_\w+)?$")


def cells_are_python(draft: Draft) -> Iterator[str]:
    """Every code cell parses."""
    for cell in draft.code:
        python_of(cell.text)
    return
    yield


def imports_are_allowed(draft: Draft) -> Iterator[str]:
    """A lab imports labhelpers and public libraries, nothing else of ours."""
    for cell in draft.code:
        for node in ast.walk(python_of(cell.text)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                if name.split(".")[0] in OURS:
                    yield f"imports `{name}`; a lab uses labhelpers and public libraries only."


def imports_of_ours_are_few(draft: Draft) -> Iterator[str]:
    """At most three import lines of labhelpers."""
    lines = [
        line for cell in draft.code for line in cell.text.splitlines()
        if re.match(r"(?:from|import) labhelpers\b", line)
    ]  # fmt: skip
    if len(lines) > MOST_IMPORTS:
        yield f"expected at most {MOST_IMPORTS} import lines of labhelpers, found {len(lines)}."


def nothing_is_installed(draft: Draft) -> Iterator[str]:
    """Nothing is installed or downloaded from a notebook."""
    for cell in draft.code:
        for pattern in (INSTALLS, DOWNLOADS):
            if match := pattern.search(cell.text):
                yield f"`{match[0]}` in a cell; set-up is where things are installed."


def nothing_asks_where_it_runs(draft: Draft) -> Iterator[str]:
    """No branch on being in a test or in the sandbox."""
    for cell in draft.code:
        if match := ASKS_WHERE.search(cell.text) or OF_A_REPLAY.search(cell.text):
            yield f"`{match[0]}`: the path that is tested is the path that is taught."


def certificates_are_verified(draft: Draft) -> Iterator[str]:
    """Certificates are verified, never switched off."""
    for cell in (*draft.code, *draft.prose):
        if match := UNVERIFIED.search(cell.text):
            yield f"`{match[0]}` switches the check of certificates off; use the CA file."


def nothing_sleeps(draft: Draft) -> Iterator[str]:
    """No bare sleep: wait for a condition."""
    for cell in draft.code:
        for node in ast.walk(python_of(cell.text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep":
                yield f"`{ast.unparse(node)}`: use `wait` with a condition and a deadline."


def errors_are_named(draft: Draft) -> Iterator[str]:
    """No bare except, no `except Exception` around a print."""
    for cell in draft.code:
        for node in ast.walk(python_of(cell.text)):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            ):
                yield "catches every error; name the one that is the lesson."


def last_values_are_meant(draft: Draft) -> Iterator[str]:
    """A cell does not end in the answer of a call that was made for what it does."""
    for cell in draft.code:
        body = python_of(cell.text).body
        last = body[-1] if body else None
        if not isinstance(last, ast.Expr) or cell.text.rstrip().endswith(";"):
            continue
        if isinstance(last.value, ast.Call):
            name = ast.unparse(last.value.func).split(".")[-1]
            if DOES.match(name):
                yield f"the cell ends in `{name}(…)` and shows its answer; take it into a name."


def paths_are_portable(draft: Draft) -> Iterator[str]:
    """No path of one machine."""
    for cell in draft.code:
        if match := MACHINE_PATH.search(cell.text) or HOME.search(cell.text):
            yield f"`{match[0]}` is a path of one machine; use a parameter or labhelpers."


def tags_are_known(draft: Draft) -> Iterator[str]:
    """Only tags that mean something."""
    for cell in draft.written:
        for tag in set(cell.tags) - {"parameters", "exercise", "blank", "nbval-check-output"}:
            yield f"the tag `{tag}` means nothing here."


def blanks_can_be_filled(draft: Draft) -> Iterator[str]:
    """A blank says what must come out, has a solution and a stub; a lab has three to five."""
    blanks = [cell for cell in draft.written if "blank" in cell.tags]
    if blanks and not 3 <= len(blanks) <= 5:
        yield f"{len(blanks)} cells tagged `blank`; a lab has three to five, or none."
    for cell in blanks:
        says = any(source.BLANK.match(line) for line in cell.text.splitlines())
        if not says or not source.solution_of(cell.text).strip():
            first = cell.text.strip().partition("\n")[0]
            yield f"the blank `{first}` needs `# blank:`, `# solution` and `# end of solution`."
        else:
            python_of(source.stub_of(cell.text))


def clean_up_asks(draft: Draft) -> Iterator[str]:
    """Run All destroys nothing: what a clean-up removes, it removes only when `finished` is set."""
    section = draft.section("Clean up")
    for cell in section.cells if section and draft.is_lab else ():
        for node in python_of(cell.text).body if cell.kind == "code" else ():
            names = {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}
            is_shown = isinstance(node, ast.Expr) and ast.unparse(node).startswith(
                ("print(", "show.")
            )
            if "finished" not in names and not is_shown:
                text = ast.unparse(node)[:50]
                yield f"the clean-up runs `{text}` unasked; put it below `if finished:`."


def exercise_has_a_solution(draft: Draft) -> Iterator[str]:
    """One exercise, with a stub that parses and a solution in the same source."""
    if not draft.is_lab:
        return
    exercises = [cell for cell in draft.written if "exercise" in cell.tags]
    if len(exercises) != 1:
        yield f"expected one cell tagged `exercise`, found {len(exercises)}."
    for cell in exercises:
        lines = [line.strip() for line in cell.text.splitlines()]
        if "# solution" not in lines or "# end of solution" not in lines:
            yield "the exercise needs the lines `# solution` and `# end of solution`."


RULES = (
    cells_are_python,
    imports_are_allowed,
    imports_of_ours_are_few,
    nothing_is_installed,
    nothing_asks_where_it_runs,
    certificates_are_verified,
    nothing_sleeps,
    errors_are_named,
    last_values_are_meant,
    paths_are_portable,
    tags_are_known,
    blanks_can_be_filled,
    clean_up_asks,
    exercise_has_a_solution,
)
