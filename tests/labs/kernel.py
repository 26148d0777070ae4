"""A lab in a kernel, a cell at a time, as a learner runs it: to break things between two cells."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client import BlockingKernelClient, KernelManager

from labrunner import notebook
from labrunner.curriculum import Curriculum, Lab

__all__ = ["CHECKPOINT", "Cell", "Desk", "Result", "desk"]

CHECKPOINT = "application/vnd.labs.checkpoint+json"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Result:
    """What a cell gave: its words, its pages, its checkpoints, its error."""

    text: str = ""
    pages: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class Cell:
    """A code cell of a lab."""

    number: int
    text: str
    practice: str = ""  # of a blank: what a learner gets who practises

    @property
    def is_checkpoint(self) -> bool:
        """Tell whether it holds a checkpoint."""
        return re.search(r"^check\(", self.text, re.M) is not None


class Desk:
    """A learner at a notebook."""

    def __init__(self, client: BlockingKernelClient, cells: list[Cell]) -> None:
        self.client, self.cells = client, cells

    def begins(self, words: str) -> Cell:
        """Return the one cell that begins with these words."""
        found = [cell for cell in self.cells if cell.text.startswith(words)]
        assert len(found) == 1, f"{len(found)} cells begin {words!r}"
        return found[0]

    def run(self, code: Cell | str, timeout: float = 300) -> Result:
        """Run a cell, or what a learner types into one."""
        result = Result()

        def take(message: dict[str, Any]) -> None:
            content, kind = message["content"], message["msg_type"]
            if kind == "stream":
                result.text += content["text"]
            elif kind in ("display_data", "execute_result", "update_display_data"):
                data = content["data"]
                result.text += str(data.get("text/plain", "")) + "\n"
                result.pages += str(data.get("text/html", ""))
                if CHECKPOINT in data:
                    result.records.append(data[CHECKPOINT])
            elif kind == "error":
                result.error = _COLOURS.sub("", "\n".join(content["traceback"]))

        text = code.text if isinstance(code, Cell) else code
        self.client.execute_interactive(
            text, timeout=timeout, output_hook=take, allow_stdin=False, stop_on_error=False
        )
        return result

    def do(self, code: Cell | str, timeout: float = 300) -> Result:
        """Run a cell that must pass."""
        result = self.run(code, timeout)
        text = code.text if isinstance(code, Cell) else code
        assert not result.error, f"{text}\n\n{result.text}\n{result.error}"
        return result


@contextlib.contextmanager
def desk(curriculum: Curriculum, lab: Lab, environment: Mapping[str, str]) -> Iterator[Desk]:
    """Sit down at a lab; the kernel ends with the block."""
    built = notebook.cells_of(curriculum, lab)
    cells = [
        Cell(at, cell.text, cell.practice) for at, cell in enumerate(built) if cell.kind == "code"
    ]
    manager = KernelManager(kernel_name="python3")
    folder = Path(curriculum.notebook(lab)).parent
    manager.start_kernel(env=dict(environment), cwd=str(folder), stderr=subprocess.DEVNULL)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Desk(client, cells)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
