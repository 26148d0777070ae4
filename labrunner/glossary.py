"""The glossary: one page of the words that labs explain, and the links that lead to it.

A lab explains a word where it stands in bold for the first time. In the built notebook that word is
a link to its entry in `notebooks/glossary.md`; a source has bold words only.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

__all__ = ["PAGE", "anchor", "link", "terms", "unlink"]

PAGE = Path("notebooks/glossary.md")
ENTRY = re.compile(r"^## (?P<term>.+)\n\n(?P<text>.+)$", re.M)
LINKED = re.compile(r"\[(\*\*[^*\[\]]+\*\*)\]\([^)\s]*glossary\.md#[^)\s]*\)")


def terms(root: Path) -> dict[str, str]:
    """Return each term of a checkout's glossary with its explanation; nothing without the page."""
    page = root / PAGE
    return _read(page, page.stat().st_mtime_ns) if page.is_file() else {}


@functools.lru_cache(maxsize=4)
def _read(page: Path, _written: int) -> dict[str, str]:
    return {match["term"]: match["text"] for match in ENTRY.finditer(page.read_text("utf-8"))}


def anchor(term: str) -> str:
    """Return the address of a heading as JupyterLab spells it.

    >>> anchor("project repository"), anchor("train/serve skew")
    ('project-repository', 'train/serve-skew')
    """
    return term.replace(" ", "-")


def link(texts: Iterable[str], names: Iterable[str], page: str) -> list[str]:
    """Return the texts of a lab; the first bold occurrence of each term is a link to its entry.

    >>> link(["A **Tag**, a **tag**,", "`**run**`"], ["tag", "run"], "../glossary.md")
    ['A [**Tag**](../glossary.md#tag), a **tag**,', '`**run**`']
    """
    found = list(texts)
    for name in names:
        words = r"\s+".join(map(re.escape, name.split()))
        bold = re.compile(rf"(?<![`\[*])(\*\*{words}\*\*)(?![`\]*])", re.I)
        for number, text in enumerate(found):
            linked, times = bold.subn(rf"[\1]({page}#{anchor(name)})", text, count=1)
            if times:
                found[number] = linked
                break
    return found


def unlink(text: str) -> str:
    """Take the links out again.

    >>> unlink("A [**Tag**](../glossary.md#tag) and [a page](other.md).")
    'A **Tag** and [a page](other.md).'
    """
    return LINKED.sub(r"\1", text)


def page_from(notebook: Path, root: Path) -> str:
    """Return the address of the glossary as a notebook writes it.

    >>> page_from(Path("/r/notebooks/core/01.ipynb"), Path("/r"))
    '../glossary.md'
    """
    return Path(os.path.relpath(root / PAGE, notebook.parent)).as_posix()


def targets(text: str) -> list[str]:
    """Return the entries that the links of a built text lead to."""
    return [unquote(one) for one in re.findall(r"glossary\.md#([^)\s]+)\)", text)]
