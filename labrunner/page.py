"""Turn an executed notebook into one HTML page that needs no network."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbformat

from labrunner.steps import steps_of

OUTSIDE = re.compile(r"<script[^>]*\bsrc=\"https?://[^\"]*\"[^>]*>\s*</script>\s*")
PICTURES = ("image/png", "image/svg+xml")


def write(executed: Path) -> Path:
    """Write the HTML page beside an executed notebook and return its place."""
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter(embed_images=True)
    body, _ = exporter.from_notebook_node(read(executed), {"metadata": {"name": executed.stem}})
    page = executed.with_suffix(".html")
    page.write_text(OUTSIDE.sub("", body), "utf-8")
    return page


def read(executed: Path) -> Any:
    """Read an executed notebook."""
    return nbformat.read(executed, as_version=4)


def picture(notebook: Any) -> tuple[str, str] | None:
    """Return the last picture a lab made, as a data address, and the step that made it."""
    last = None
    titles = steps_of(notebook)
    for at, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            for kind in PICTURES:
                if kind in data:
                    last = (_address(kind, "".join(data[kind])), titles[at][1])
    return last


def _address(kind: str, content: str) -> str:
    if kind != "image/png":
        content = base64.b64encode(content.encode()).decode()
    return f"data:{kind};base64,{content.strip()}"
