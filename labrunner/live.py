"""What a replay prints while it goes: one line per lab that grows on a terminal, or a line per
step where the output is a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from labrunner.outcome import FAILED, PASSED, RUNNING, SKIPPED, Outcome

SIGNS = {PASSED: "✓", FAILED: "✗", SKIPPED: "–", RUNNING: "▸"}


class Board:
    """The view of a running replay."""

    def __init__(self, console: Console, outcomes: list[Outcome]) -> None:
        self.console = console
        self.outcomes = outcomes
        self._begun: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._lock = threading.Lock()
        self._live = (
            Live(get_renderable=self._lines, console=console, refresh_per_second=2)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Board:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._live:
            self._live.refresh()
            self._live.__exit__(None, None, None)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def tell(self, outcome: Outcome) -> None:
        """Note that something about a lab changed."""
        with self._lock:
            self._begun.setdefault(outcome.lab, time.monotonic())
            line = f"{outcome.status}{outcome.step}"
            if self._live is None and self._said.get(outcome.lab) != line:
                self._said[outcome.lab] = line
                self.say(self.line(outcome))

    def line(self, outcome: Outcome) -> str:
        """Return the line of one lab: sign, lab, step reached, seconds."""
        seconds = outcome.seconds
        if outcome.status == RUNNING:
            seconds = time.monotonic() - self._begun.get(outcome.lab, time.monotonic())
        if outcome.status in (SKIPPED, FAILED):
            said = outcome.reason or (outcome.error or {}).get("name", "")
        else:
            said = "kept from an earlier run" if outcome.kept else ""
        step = outcome.step or outcome.title
        return (
            f"{SIGNS.get(outcome.status, ' ')} {outcome.lab:<12} {step:<46} {seconds:6.1f} s {said}"
        )

    def _lines(self) -> Table:
        grid = Table.grid()
        for outcome in self.outcomes:
            grid.add_row(self.line(outcome))
        return grid


def table(outcomes: Iterable[Outcome]) -> Table:
    """Return the closing table of a replay."""
    made = Table(title="Replay", title_justify="left")
    for column in ("lab", "title", "result"):
        made.add_column(column)
    for column in ("steps", "checkpoints", "seconds", "peak memory"):
        made.add_column(column, justify="right")
    for outcome in outcomes:
        passed = sum(bool(found["ok"]) for found in outcome.checkpoints)
        made.add_row(
            outcome.lab,
            outcome.title,
            f"{SIGNS.get(outcome.status, '')} {outcome.status}",
            str(len(outcome.steps)),
            f"{passed}/{len(outcome.checkpoints)}",
            f"{outcome.seconds:.1f}",
            f"{outcome.peak / 2**20:.0f} MB",
        )
    return made
