"""Turn an executed notebook into one HTML page that needs no network."""

from __future__ import annotations

import base64
import html
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat

from labrunner.prose import IMAGE
from labrunner.steps import steps_of

OUTSIDE = re.compile(r"<script[^>]*\bsrc=\"https?://[^\"]*\"[^>]*>\s*</script>\s*")
PICTURES = ("image/png", "image/svg+xml")
# The exporter's greys and greens are pale, and it cuts long lines of code off.
LOOK = """<style>
.jp-InputPrompt, .jp-OutputPrompt { color:#595959 !important; opacity:1 !important }
.highlight [class^="c"], .highlight [class^="m"] { color:#39676a !important }
.highlight .ow, .highlight .o { color:#7a1fa8 !important }
.highlight pre, .jp-RenderedText pre { white-space:pre-wrap !important; overflow-wrap:anywhere }
.jp-RenderedHTMLCommon table { table-layout:auto !important; overflow-wrap:anywhere }
</style>
</head>"""
# A cell that JupyterLab shows collapsed is a fold in the page.
FOLDED = """{%- extends 'lab/index.html.j2' -%}
{% block input_group -%}
{%- if cell.metadata.get('jupyter', {}).get('source_hidden') -%}
<details class="labs-folded"><summary>The code of this cell</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock input_group %}
"""
WORDS = re.compile(r"<img alt=\"([^\"]*)\"")


@dataclass(frozen=True)
class Picture:
    """A picture of a lab: a data address, the step that made it, and what it shows in words."""

    address: str
    step: str
    words: str


def write(executed: Path, home: Path) -> Path:
    """Write the HTML page beside an executed notebook and return its place.

    `home` is the folder that the notebook comes from: its text shows pictures relative to it.
    """
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter(extra_loaders=[DictLoader({"folded.html.j2": FOLDED})])
    exporter.template_file = "folded.html.j2"
    notebook = read(executed)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            _attach_pictures(cell, home)
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": executed.stem}})
    page = executed.with_suffix(".html")
    page.write_text(OUTSIDE.sub("", body).replace("</head>", LOOK, 1), "utf-8")
    return page


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
    """Return the last picture a lab made."""
    last = None
    titles = steps_of(notebook)
    for at, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            for kind in PICTURES:
                if kind in data:
                    address = _address(kind, "".join(data[kind]))
                    last = Picture(address, titles[at][1], _words(data) or titles[at][1])
    return last


def _words(data: Any) -> str:
    """Return the words that a notebook shows a picture with."""
    found = WORDS.search("".join(data.get("text/html", "")))
    return html.unescape(found[1]) if found else ""


def _address(kind: str, content: str) -> str:
    if kind != "image/png":
        content = base64.b64encode(content.encode()).decode()
    return f"data:{kind};base64,{content.strip()}"
