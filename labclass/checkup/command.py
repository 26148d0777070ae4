"""`labs doctor --platform F`: print what a visit found, as lines or as JSON."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from labclass.checkup.finding import ADVICE, MISSING, OK, SKIPPED, Finding
from labclass.checkup.looks import examine
from labclass.checkup.visit import Visit, settings_of, visiting

SIGNS = {OK: "✓", MISSING: "✗", ADVICE: "·"}


def doctor(file: Path, students: int, as_json: bool, console: Console) -> int:
    """Look at a platform; return 1 when something is missing that the labs need."""
    visit = Visit(settings_of(file), students, ask=asking())
    found: list[Finding] = []
    with visiting(visit):
        for finding in examine(visit):
            found.append(finding)
            if not as_json and finding.state != SKIPPED:
                show(finding, console)
    good = not any(finding.state in (MISSING, SKIPPED) for finding in found)
    if as_json:
        findings = [asdict(finding) for finding in found]
        document = {"platform": visit.url, "ok": good, "findings": findings}
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return 0 if good else 1
    if left_out := [finding.name for finding in found if finding.state == SKIPPED]:
        console.print(f"– not looked at: {', '.join(left_out)}")
    count = sum(finding.state == MISSING for finding in found)
    if good:
        console.print("\nThe labs can begin.")
    else:
        things = "1 thing is missing" if count == 1 else f"{count} things are missing"
        console.print(f"\n{things}; what to do stands below each of them.")
    return 0 if good else 1


def asking() -> Callable[[str], str] | None:
    """Return a way to ask for a password, where somebody sits in front of this."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda prompt: getpass.getpass(prompt, stream=sys.stderr)


def show(finding: Finding, console: Console) -> None:
    """Print a finding; what was expected and what to do when it is not well."""
    line = f"{SIGNS[finding.state]} {finding.name:<12} {finding.found}"
    console.print(line, markup=False)
    if finding.state in (MISSING, ADVICE):
        for word, text in (("expected", finding.expected), ("do", finding.cure)):
            console.print(f"  {'':<12} {word}: {text}", markup=False)
