"""A lab open in JupyterLab, as a person uses it: menus, keys, and what stands below the cells."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from labhelpers.check import MIME
from labhelpers.wait import WaitTimeout, wait
from tests.browser.accessibility import TWO_FRAMES
from tests.browser.chromium import PATIENCE, WINDOW
from tests.browser.workshop import Workshop
from tests.repo.tree import ROOT

IS_IN_VIEW = """one => {
  const box = one.getBoundingClientRect(), middle = box.top + box.height / 2;
  return box.height > 0 && middle > 100 && middle < innerHeight - 50;
}"""
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

    @property
    def box(self) -> Locator:
        """Return the closed box that asks for a password."""
        return self.page.locator(".jp-Stdin-input")

    def sign_in(self) -> None:
        """Type the password into the box that asks for it."""
        expect(self.box).to_have_attribute("type", "password", timeout=PATIENCE * 1000)
        self.box.fill(self.workshop.password)
        self.box.press("Enter")

    def wait_until_run(self, deadline: float = PATIENCE) -> None:
        """Wait until every code cell has its number, or one has failed; sign in when asked."""

        def look() -> list[str]:
            if self.box.count():
                self.sign_in()
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
        self.saved = self._save()

    def unfinished(self) -> list[str]:
        """Return the prompts of cells that run or wait."""
        cells = self.page.locator(".jp-Notebook .jp-CodeCell")
        prompts = cells.locator(".jp-InputPrompt").all_text_contents()
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


def _written(file: Path, is_new: Callable[[], bool]) -> dict[str, Any]:
    wait(f"{file.name} to be saved", is_new, deadline=PATIENCE)
    found: dict[str, Any] = wait(
        f"the whole of {file.name}",
        lambda: json.loads(file.read_text("utf-8")),
        deadline=PATIENCE,
        ignoring=(ValueError,),
    )
    return found
