"""A lab open in JupyterLab, as a person uses it: menus, keys, and what stands below the cells."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, TimeoutError, expect

from labhelpers.deadline import WaitTimeout, wait
from labshow.checkpoint import MIME
from tests.browser.accessibility import TWO_FRAMES
from tests.browser.chromium import PATIENCE, WINDOW
from tests.browser.workshop import Workshop
from tests.repo.tree import ROOT

IS_IN_VIEW = """one => {
  const box = one.getBoundingClientRect(), middle = box.top + box.height / 2;
  return box.height > 0 && middle > 100 && middle < innerHeight - 50;
}"""
BRIEF = 5000  # milliseconds
RUN = "Run All Cells"
SEEN = ROOT / "build" / "browser.png"  # the window, when something was waited for in vain
OUTPUTS = ".jp-Notebook .jp-OutputArea-output"
RED = ", ".join(f"[data-mime-type='application/vnd.jupyter.{one}']" for one in ("error", "stderr"))
TEXTS = ".jp-Notebook .jp-RenderedMarkdown"


class OpenLab:
    """One notebook in one window."""

    def __init__(self, page: Page, workshop: Workshop, file: str) -> None:
        self.page, self.workshop, self.file = page, workshop, file
        self.saved: dict[str, Any] = {}  # the notebook as it was on the disk when it had run

    def open(self) -> None:
        """Open the lab and wait for its kernel."""
        self.page.goto(self.workshop.page(self.file))
        # The notebook's own sign says "idle" before there is a kernel; the status bar does not.
        status = self.page.get_by_role("button", name="Python 3 (ipykernel) | Idle")
        expect(status).to_be_visible(timeout=PATIENCE * 1000)

    def run_all(self) -> None:
        """Choose Run All Cells in the Run menu."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name=RUN, exact=True).click()

    def choose(self, menu: str, entry: str) -> None:
        """Choose an entry of a menu; its shortcut, where it has one, is not part of its label."""
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        whole = re.compile(f"^{re.escape(entry)}$")
        label = self.page.locator(".lm-Menu-itemLabel", has_text=whole)
        self.page.get_by_role("menuitem").filter(has=label).click()

    def cell(self, index: int) -> Locator:
        """Return a cell by its place in the notebook."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def select(self, index: int) -> None:
        """Click into the text of a cell; it is then the one that menus mean."""
        self.look_at(self.cell(index))
        self.cell(index).locator(".cm-content").click()

    def write(self, index: int, text: str) -> None:
        """Replace the text of a cell, as somebody who pastes it."""
        self.select(index)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def run_from(self, index: int) -> None:
        """Run a cell and those below it, until one fails; what older runs showed is cleared."""
        self.choose("Edit", "Clear Outputs of All Cells")
        self.select(index)
        self.choose("Run", "Run Selected Cell and All Below")

    def restart(self) -> None:
        """Restart the kernel, and agree when JupyterLab asks."""
        self.choose("Kernel", "Restart Kernel…")
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        status = self.page.get_by_role("button", name="Python 3 (ipykernel) | Idle")
        expect(status).to_be_visible(timeout=PATIENCE * 1000)

    def run_above(self, index: int, deadline: float) -> None:
        """Run the cells above one, and wait for them."""
        self.choose("Edit", "Clear Outputs of All Cells")
        self.select(index)
        self.choose("Run", "Run All Above Selected Cell")

        def left() -> list[str]:
            if self.box.count():
                self._sign_in_if_still_asked()
            return uncounted({"cells": self._save()["cells"][:index]})

        wait("the cells above to be run", left, until=lambda found: not found, deadline=deadline)

    def result_of(self, checkpoint: str, deadline: float) -> bool:
        """Wait for the result of a checkpoint below the cells; return whether it passed."""

        def look() -> dict[str, bool]:
            if self.box.count():
                self._sign_in_if_still_asked()
            if any("*" in prompt for prompt in self.unfinished()):  # it runs, or waits for its turn
                return {}
            self.saved = self._save()
            return checkpoints(self.saved)

        found = wait(
            f"a result of {checkpoint}",
            look,
            until=lambda seen: checkpoint in seen,
            deadline=deadline,
            every=1.0,
        )
        return bool(found[checkpoint])

    @property
    def box(self) -> Locator:
        """Return the closed box that asks for a password."""
        return self.page.locator(".jp-Stdin-input")

    def sign_in(self) -> None:
        """Type the password into the box that asks for it."""
        expect(self.box).to_have_attribute("type", "password", timeout=PATIENCE * 1000)
        self.box.fill(self.workshop.password)
        self.box.press("Enter")

    def _sign_in_if_still_asked(self) -> None:
        """Answer a box that may be gone before it is answered: the last answer was on its way."""
        with contextlib.suppress(TimeoutError):
            self.box.fill(self.workshop.password, timeout=BRIEF)
            self.box.press("Enter", timeout=BRIEF)

    def wait_until_run(self, deadline: float = PATIENCE) -> None:
        """Wait until every code cell has its number, or one has failed; sign in when asked.

        A collapsed cell shows no number, so those are read from the saved notebook.
        """

        def look() -> list[str]:
            if self.box.count():
                self._sign_in_if_still_asked()
            return self.unfinished()

        try:
            wait(
                f"{self.file} to be run",
                look,
                until=lambda left: not left or self.errors(),
                deadline=deadline,
            )
        except WaitTimeout as late:
            self.page.screenshot(path=SEEN)
            said = "\n".join(self.outputs()[-3:])
            raise AssertionError(f"{late} {SEEN} shows it. The last outputs:\n{said}") from late

        def save() -> list[str]:
            self.saved = self._save()
            return uncounted(self.saved)

        wait(
            f"each code cell of {self.file} to have its number",
            save,
            until=lambda left: not left or self.errors(),
            deadline=deadline,
        )

    def unfinished(self) -> list[str]:
        """Return the prompts of cells that run or wait; a collapsed cell has none."""
        cells = self.page.locator(".jp-Notebook .jp-CodeCell")
        prompts = cells.locator(".jp-InputPrompt:not(.jp-Placeholder-prompt)").all_text_contents()
        return [prompt for prompt in prompts if not any(one.isdigit() for one in prompt)]

    def errors(self) -> list[str]:
        """Return what stands in red below the cells."""
        return self.page.locator(f".jp-Notebook :is({RED})").all_text_contents()

    def outputs(self) -> list[str]:
        """Return the texts below the cells."""
        return self.page.locator(OUTPUTS).all_text_contents()

    @contextlib.contextmanager
    def unrolled(self) -> Iterator[Page]:
        """Make the window as high as the lab: a checker takes what is scrolled away for hidden."""
        size = self.page.viewport_size or WINDOW
        inner = self.page.locator(".jp-Notebook .jp-WindowedPanel-inner")
        height = int(inner.evaluate("one => one.scrollHeight")) * 2 + 1000
        self.page.set_viewport_size({"width": size["width"], "height": height})
        self.page.add_style_tag(content="html, body { height: 100% }")
        try:
            yield self.page
        finally:
            self.page.set_viewport_size(size)

    def look_at(self, part: Locator) -> None:
        """Scroll to a part and wait until it is painted: cells change their height on the way."""

        def scroll() -> bool:
            part.evaluate("one => one.scrollIntoView({block: 'center'})")
            self.page.evaluate(TWO_FRAMES)
            return bool(part.evaluate(IS_IN_VIEW))

        for _ in range(2):
            wait("what is looked at to be in view", scroll, deadline=PATIENCE)

    def broken_pictures(self) -> list[str]:
        """Return the pictures of the text that the browser could not load."""
        images = self.page.locator(f"{TEXTS} img")
        return images.evaluate_all(
            "all => all.filter(one => !one.naturalWidth).map(one => one.getAttribute('src'))"
        )

    def _save(self) -> dict[str, Any]:
        """Save with the keyboard; return the notebook as it is on the disk."""
        file = self.workshop.notebook(self.file)
        before = file.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")
        return _written(file, lambda: file.stat().st_mtime_ns != before)


def checkpoints(notebook: dict[str, Any]) -> dict[str, bool]:
    """Return the results in a saved notebook by name."""
    shown = [
        output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", ())
    ]
    records = [data[MIME] for data in shown if MIME in data]
    return {record["name"]: record["ok"] for record in records}


def uncounted(notebook: dict[str, Any]) -> list[str]:
    """Return the first lines of a saved notebook's code cells that have not run to their end."""
    return [
        "".join(cell["source"]).partition("\n")[0]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and cell["execution_count"] is None
    ]


def _written(file: Path, is_new: Callable[[], bool]) -> dict[str, Any]:
    wait(f"{file.name} to be saved", is_new, deadline=PATIENCE)
    found: dict[str, Any] = wait(
        f"the whole of {file.name}",
        lambda: json.loads(file.read_text("utf-8")),
        deadline=PATIENCE,
        ignoring=(ValueError,),
    )
    return found
