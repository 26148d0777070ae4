"""Where you stand, in one look: the labs, your checkpoints, and whether the platform answers.

`labs progress` prints it, and the panel of JupyterLab shows it. The labs come from labs.toml, what
a lab has to show from its notebook, what you have shown from your home. The platform is asked the
way a lab asks it: over HTTPS, with its certificate verified.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import ssl
import tomllib
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from labhelpers import progress
from labkube import kubeconfig
from labpanel import questions

__all__ = ["Door", "Standing", "checkpoints", "doors", "labs", "show"]

PATIENCE = 3.0
_MAGIC = re.compile(r"^(\s*)(?:%|!|\w+\s*=\s*[%!]).*$", re.M)


@dataclass(frozen=True)
class Standing:
    """A lab, and how far you are in it."""

    id: str
    title: str
    level: str
    minutes: int
    needs: tuple[str, ...]
    platform: bool
    file: str  # below the folder of notebooks
    checkpoints: int
    passed: int
    failing: tuple[str, ...]
    questions: int = 0
    answered: int = 0
    right_at_once: int = 0  # at the first answer

    @property
    def is_done(self) -> bool:
        """Tell whether every checkpoint of this lab has passed."""
        return 0 < self.checkpoints <= self.passed and not self.failing

    @property
    def words(self) -> str:
        """Say it in words."""
        if not self.passed and not self.failing:
            return "not begun"
        text = f"{self.passed} of {self.checkpoints} checkpoints passed"
        return f"{text}, {len(self.failing)} not yet" if self.failing else text

    @property
    def score(self) -> str:
        """Say in words how the lab's questions were answered; nothing before the first answer."""
        if not self.answered:
            return ""
        count = f"{self.right_at_once} of {self.questions} questions"
        rest = self.questions - self.answered
        return f"{count} right at the first answer" + (f", {rest} open" if rest else "")


@dataclass(frozen=True)
class Door:
    """One way into the platform, and whether somebody answers."""

    name: str
    is_open: bool | None  # None: nobody knows its address yet
    words: str


def labs(collection: Path, notebooks: Path | None = None) -> list[Standing]:
    """Return the labs of the collection that holds labs.toml, in order."""
    with (collection / "labs.toml").open("rb") as file:
        listed = tomllib.load(file).get("lab", [])
    kept = progress.load()
    place = notebooks or collection / "notebooks"
    return [_standing(lab, kept.get(lab["id"], {}), place) for lab in listed]


def _standing(lab: dict[str, Any], met: dict[str, Any], notebooks: Path) -> Standing:
    names = checkpoints(notebooks / f"{lab['file']}.ipynb")
    asked = questions.of(notebooks / f"{lab['file']}.ipynb")
    answered, right = questions.score(asked, met)
    met = {name: entry for name, entry in met.items() if name not in {one.text for one in asked}}
    seen = {name: entry for name, entry in met.items() if not names or name in names}
    passed = [name for name, entry in seen.items() if entry.get("passed")]
    return Standing(
        lab["id"],
        lab["title"],
        lab["level"],
        lab["minutes"],
        tuple(lab.get("needs", ())),
        bool(lab.get("platform")),
        f"{lab['file']}.ipynb",
        max(len(names), len(seen)),
        len(passed),
        tuple(sorted(set(seen) - set(passed))),
        questions=len(asked),
        answered=answered,
        right_at_once=right,
    )


def checkpoints(notebook: Path) -> tuple[str, ...]:
    """Return the names of a notebook's checkpoints; none when it cannot be read."""
    try:
        return _checkpoints(notebook, notebook.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ()


@lru_cache(maxsize=64)
def _checkpoints(notebook: Path, _: int) -> tuple[str, ...]:
    cells = json.loads(notebook.read_text("utf-8")).get("cells", [])
    found: dict[str, None] = {}
    for cell in cells:
        if cell.get("cell_type") == "code":
            found |= dict.fromkeys(_names("".join(cell.get("source", ""))))
    return tuple(found)


def _names(code: str) -> list[str]:
    """Return what a cell's calls of `check` are named.

    >>> _names('%load_ext x\\nif ready:\\n    check("It is there", seen)')
    ['It is there']
    >>> _names("%%somewhere_else\\ncheck('Not here', 1)"), _names("half a")
    ([], [])
    >>> _names('try:\\n    check("Shown to fail", False)\\nexcept CheckFailed:\\n    print("seen")')
    []
    """
    if code.lstrip().startswith("%%"):
        return []
    try:
        tree = ast.parse(_MAGIC.sub(r"\1pass", code))
    except SyntaxError:  # a learner is typing
        return []
    # What is caught on purpose is a demonstration: nobody can pass it.
    tried = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    shown = {id(node) for block in tried for node in ast.walk(block)}
    nodes = [node for node in ast.walk(tree) if id(node) not in shown]
    calls = [node for node in nodes if isinstance(node, ast.Call) and node.args]
    firsts = [call.args[0] for call in calls if getattr(call.func, "id", "") == "check"]
    named = [first for first in firsts if isinstance(first, ast.Constant)]
    named.sort(key=lambda first: first.lineno)
    return [first.value for first in named if isinstance(first.value, str)]


def doors() -> list[Door]:
    """Knock at the front door and at the Kubernetes API; none when no platform is configured."""
    url = os.environ.get("EZMERAL_URL")
    if not url:
        return []
    front = _probe("Front door", f"{url.rstrip('/')}/api/v2/config", os.environ.get("EZMERAL_CA"))
    return [front, _api()]


def _api() -> Door:
    """Knock where your kubeconfig points, without showing who you are."""
    name = "Kubernetes API"
    try:
        found = kubeconfig.read(kubeconfig.locate())
    except FileNotFoundError:
        return Door(name, None, "you get its address in lab core-01")
    except (OSError, ValueError, KeyError, TypeError):
        return Door(name, False, "your kubeconfig cannot be read: run lab core-01 again")
    return _probe(name, f"{found.server}/version", found.authority_file, found.authority)


def _probe(name: str, url: str, file: str | None, data: str = "") -> Door:
    """Ask one address; any answer over a verified connection is one."""
    try:
        context = ssl.create_default_context(cafile=file or None, cadata=data or None)
        # As the labs do: the platform is asked directly, whatever proxy the machine has.
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with contextlib.closing(direct.open(url, timeout=PATIENCE)):
            return Door(name, True, "answers")
    except urllib.error.HTTPError as refused:
        refused.close()
        well = refused.code < 500
        return Door(name, well, "answers" if well else f"answers with error {refused.code}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return Door(name, False, "shows a certificate that EZMERAL_CA does not vouch for")
        if isinstance(reason, TimeoutError):
            return Door(name, False, f"does not answer within {PATIENCE:.0f} s")
        return Door(name, False, f"does not answer ({getattr(reason, 'strerror', None) or reason})")


def show(collection: Path, console: Console) -> None:
    """Show the labs, your checkpoints and the platform in two tables."""
    known = labs(collection)
    rows = [[lab.id, lab.title, str(lab.minutes), lab.words, lab.score] for lab in known]
    _table(console, "Labs", ["lab", "title", "minutes", "where you stand", "questions"], rows)
    found = doors()
    if found:
        reached = {True: "yes", False: "no", None: "not asked"}
        lines = [[door.name, reached[door.is_open], door.words] for door in found]
        _table(console, "Platform", ["part", "reached", "more"], lines)
        return
    alone = ", ".join(lab.id for lab in known if not lab.platform)
    console.print(
        f"No platform is configured. These labs need none: {alone}. For the others type "
        '`labsandbox up --detach` and `eval "$(labsandbox env)"`, then start Jupyter there.'
    )


def _table(console: Console, title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    console.print(table)
