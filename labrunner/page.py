"""Turn an executed notebook into one HTML page that needs no network."""

from __future__ import annotations

import base64
import functools
import html
import mimetypes
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat

from labrunner.prose import IMAGE
from labrunner.steps import steps_of

OUTSIDE = re.compile(r"<script[^>]*\bsrc=\"https?://[^\"]*\"[^>]*>\s*</script>\s*")
PICTURES = ("image/png", "image/svg+xml")
WORDS = re.compile(r"<img alt=\"([^\"]*)\"")


@dataclass(frozen=True)
class Picture:
    """A picture of a lab: a data address, the step that made it, and what it shows in words."""

    address: str
    step: str
    words: str


class _Coloured(str):
    """Code in colours: Pygments has escaped what it says."""


@functools.cache
def _exporter() -> Any:
    """Return the exporter, whose templates are compiled once and which cleans no code again."""
    from jinja2 import FileSystemLoader
    from nbconvert import HTMLExporter
    from nbconvert.filters import Highlight2HTML, clean_html

    colour = Highlight2HTML(pygments_lexer="ipython3")
    filters = {
        "highlight_code": lambda code, **known: _Coloured(colour(code, **known)),
        "clean_html": lambda text: text if isinstance(text, _Coloured) else clean_html(text),
    }
    here = FileSystemLoader(Path(__file__).parent)
    return HTMLExporter(extra_loaders=[here], template_file="page.html.j2", filters=filters)


def write(executed: Path, home: Path) -> Path:
    """Write the HTML page beside an executed notebook and return its place.

    `home` is the folder that the notebook comes from: its text shows pictures relative to it.
    """
    notebook = read(executed)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            _attach_pictures(cell, home)
    known = {"metadata": {"name": executed.stem}}
    body, _ = _exporter().from_notebook_node(notebook, known)
    page = executed.with_suffix(".html")
    page.write_text(OUTSIDE.sub("", body), "utf-8")
    return page


def write_all(homes: Mapping[Path, Path]) -> None:
    """Write the pages of many notebooks, each with its home, on as many processors as there are."""
    pairs = list(homes.items())
    count = min(os.cpu_count() or 1, len(pairs) // 4)  # A second process takes as long to start.
    if count < 2:
        for executed, home in pairs:
            write(executed, home)
        return
    # `multiprocessing` would run once more, in each process, the program that was started.
    words = [sys.executable, "-P", "-m", __name__]
    parts = [chain.from_iterable(pairs[first::count]) for first in range(count)]
    runs = [subprocess.Popen([*words, *part]) for part in parts]
    if status := max([run.wait() for run in runs], key=abs):
        raise subprocess.CalledProcessError(status, words)


def _attach_pictures(cell: Any, home: Path) -> None:
    """Put the pictures that a text shows into its cell: the page goes where the files do not.

    The exporter itself embeds only what lies below the notebook's own folder.
    """
    attached = cell.setdefault("attachments", {})

    def attach(match: re.Match[str]) -> str:
        file = home / unquote(match["target"])
        kind, _ = mimetypes.guess_type(file.name)
        if kind is None or not file.is_file():
            return match[0]
        attached[file.name] = {kind: base64.b64encode(file.read_bytes()).decode()}
        return f"![{match['alt']}](attachment:{file.name})"

    cell.source = IMAGE.sub(attach, cell.source)


def read(executed: Path) -> Any:
    """Read an executed notebook."""
    return nbformat.read(executed, as_version=4)


def picture(notebook: Any) -> Picture | None:
    """Return the last picture a lab made, and the words that the notebook shows it with."""
    last = None
    titles = steps_of(notebook)
    for at, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            words = WORDS.search("".join(data.get("text/html", "")))
            for kind in [kind for kind in PICTURES if kind in data]:
                content = "".join(data[kind]).strip()
                if kind != "image/png":
                    content = base64.b64encode(content.encode()).decode()
                said = html.unescape(words[1]) if words and words[1] else titles[at][1]
                last = Picture(f"data:{kind};base64,{content}", titles[at][1], said)
    return last


if __name__ == "__main__":
    for place in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        write(*map(Path, place))
