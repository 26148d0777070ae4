"""Where the commands print."""

from __future__ import annotations

from rich.console import Console

__all__ = ["console"]

console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:  # a log has room for a whole line
    console = Console(highlight=False, soft_wrap=True, width=120)
