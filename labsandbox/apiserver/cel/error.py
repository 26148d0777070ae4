"""What is wrong with an expression, worded and placed as cel-go does."""

from __future__ import annotations

EXCEEDED = "operation cancelled: actual cost limit exceeded"


class CelError(ValueError):
    """An expression that cannot be compiled or evaluated; the message is cel-go's where known."""


def pointed(text: str, line: int, column: int, says: str) -> str:
    """An error with the place it is about, as cel-go shows it."""
    lines = text.splitlines() or [""]
    shown = lines[min(line, len(lines)) - 1]
    dots = "." * (column - 1)
    return f"ERROR: <input>:{line}:{column}: {says}\n | {shown}\n | {dots}^"
