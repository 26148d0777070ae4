"""Every rule for labs that a program can check; `labs check` and the tests call them.

A rule takes a `Draft` (one lab, read) and yields sentences. `anatomy`, `code`, `hint` and `prose`
hold the rules by what they look at; each rule has a known-bad fixture in tests/repo/labs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labrunner import anatomy, code, hint, notebook, prose
from labrunner.curriculum import Curriculum, Lab
from labrunner.draft import Draft, read
from labrunner.errors import BadSource

Rule = Callable[[Draft], Iterator[str]]

RULES: tuple[Rule, ...] = (*anatomy.RULES, *code.RULES, *hint.RULES, *prose.RULES)


@dataclass(frozen=True)
class Finding:
    """One broken rule: where, which, and what to do."""

    path: Path
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}: {self.text}"


def check(curriculum: Curriculum, lab: Lab) -> list[Finding]:
    """Return every rule that a lab breaks."""
    path = curriculum.source(lab).relative_to(curriculum.root)
    try:
        draft = read(curriculum, lab)
        findings = [
            Finding(path, rule.__name__, text)
            for rule in RULES
            if rule.__name__ not in lab.excused
            for text in rule(draft)
        ]
    except BadSource as error:
        return [Finding(path, "source_reads", str(error))]
    if not notebook.is_current(curriculum, lab):
        built = curriculum.notebook(lab).relative_to(curriculum.root)
        text = f"{built} is not what its source gives; type `labs build {lab.id}`."
        findings.append(Finding(path, "notebook_is_built", text))
    return findings
