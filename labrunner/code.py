"""Rules about the code in a lab's cells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from labrunner.draft import Draft, python_of

OURS = ("labrunner", "labsandbox", "labapps")
INSTALLS = re.compile(
    r"\b(?:pip|pip3|conda|mamba|uv|apt|apt-get|brew)\s+(?:-\S+ +)*(?:install|add|sync|get)\b"
)
DOWNLOADS = re.compile(r"\b(?:wget|urlretrieve|git\s+clone|hf_hub_download|nltk\.download)\b")
ASKS_WHERE = re.compile(
    r"IS_TESTING|IN_SANDBOX|PYTEST_CURRENT_TEST|PAPERMILL|\bis_sandbox\b|\bis_test\b", re.I
)
UNVERIFIED = re.compile(
    r"verify(?:_ssl)?\s*=\s*False|--insecure\b|\bcurl\b[^\n]* -k\b|_create_unverified_context"
    r"|insecure-skip-tls-verify"
)
DOES = re.compile(r"(?:write|create|patch|replace|delete)(?:_\w+)?$")
MACHINE_PATH = re.compile(r"(?:^|[\s'\"(=])(?:/home/\w|/Users/\w|/root/|C:\\\\)")


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


def nothing_is_installed(draft: Draft) -> Iterator[str]:
    """Nothing is installed or downloaded from a notebook."""
    for cell in draft.code:
        for pattern in (INSTALLS, DOWNLOADS):
            if match := pattern.search(cell.text):
                yield f"`{match[0]}` in a cell; set-up is where things are installed."


def nothing_asks_where_it_runs(draft: Draft) -> Iterator[str]:
    """No branch on being in a test or in the sandbox."""
    for cell in draft.code:
        if match := ASKS_WHERE.search(cell.text):
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
                yield f"`{ast.unparse(node)}`: use labhelpers.wait with a condition and a deadline."


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
        if match := MACHINE_PATH.search(cell.text):
            yield f"`{match[0].strip()}` is a path of one machine; use a parameter or labhelpers."


def tags_are_known(draft: Draft) -> Iterator[str]:
    """Only tags that mean something."""
    for cell in draft.written:
        for tag in set(cell.tags) - {"parameters", "exercise", "nbval-check-output"}:
            yield f"the tag `{tag}` means nothing here."


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
    nothing_is_installed,
    nothing_asks_where_it_runs,
    certificates_are_verified,
    nothing_sleeps,
    errors_are_named,
    last_values_are_meant,
    paths_are_portable,
    tags_are_known,
    exercise_has_a_solution,
)
