"""A live line: grows while you wait, and is readable text when nobody watches."""

from __future__ import annotations

import html
import time
from typing import Any

from labshow.colour import QUIET

__all__ = ["Live"]


class Live:
    """Show what changes, one entry after another, in the same place.

    >>> live = Live("kdcluster demo")
    >>> live.add("creating")
    kdcluster demo: creating
    >>> live.add("configured")
    kdcluster demo: configured
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.seen: list[tuple[float, str]] = []
        self._begun = time.monotonic()
        self._handle: Any = None

    def add(self, what: str) -> None:
        """Add an entry and show all of them."""
        self.seen.append((time.monotonic() - self._begun, what))
        from IPython.core.getipython import get_ipython

        if get_ipython() is None:
            print(f"{self.title}: {what}")
            return
        from IPython.display import display

        bundle = {"text/plain": self._text(), "text/html": self._html()}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def _text(self) -> str:
        return f"{self.title}: " + " → ".join(what for _, what in self.seen)

    def _html(self) -> str:
        """Return the list; only its last entry is announced, and not the whole list each time."""
        said = [
            f'<span style="color:{QUIET}">{seconds:.1f} s</span> {html.escape(what)}'
            for seconds, what in self.seen
        ]
        said[-1] = f'<span role="status">{said[-1]}</span>'
        rows = "".join(f"<li>{one}</li>" for one in said)
        title = html.escape(self.title, quote=True)
        return (
            f'<div role="group" aria-label="{title}"><b>{title}</b>'
            f'<ul style="margin:.2em 0">{rows}</ul></div>'
        )
