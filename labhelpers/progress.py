"""Where a learner stands: which checkpoint passed, how often one failed.

One small JSON file per learner, in their home (`LABS_HOME` moves it), never in the repository:
a read-only checkout works, and two learners on one host do not see each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labspark.place import home

__all__ = ["load", "record", "rewrite"]

_LONGEST = 600  # characters of what was found, and of a hint: an instructor reads them
_unsaved: dict[Path, dict[str, Any]] = {}  # what a home had no room for, kept by this kernel alone


def load() -> dict[str, Any]:
    """Return {lab: {checkpoint: what is known of it}}; empty before the first checkpoint.

    Known are `passed`; `failures` in a row, `failed` in all; `first` and `at`, times of results;
    what the last pass `saw`; after a failure, what was `found`, and the `hint`.
    """
    if home() in _unsaved:
        return _unsaved[home()]
    try:
        kept = json.loads((home() / "progress.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def record(lab: str, name: str, passed: bool, found: str = "", hints: Sequence[str] = ("",)) -> int:
    """Note a checkpoint's result and return how many times in a row it has failed."""
    if not lab:
        return 0 if passed else 1
    with rewrite() as kept:
        entry = kept.setdefault(lab, {}).setdefault(name, {})
        before = int(entry.get("failures", 0))
        failures = 0 if passed else before + 1
        failed = int(entry.get("failed", before)) + (not passed)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        first = entry.get("first", at)
        entry.update(passed=passed, failures=failures, failed=failed, first=first, at=at)
        seen, hint = found[:_LONGEST], hints[min(failures, len(hints)) - 1][:_LONGEST]
        entry |= {"saw": seen, "found": "", "hint": ""} if passed else {"found": seen, "hint": hint}
    return failures


@contextlib.contextmanager
def rewrite() -> Iterator[dict[str, Any]]:
    """Change what is known, one program after the other where a folder can be locked."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            home().mkdir(parents=True, exist_ok=True)
            folder = os.open(home(), os.O_RDONLY)
            stack.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_EX)
        kept = load()
        yield kept
        _save(kept)


def _save(kept: dict[str, Any]) -> None:
    """Write the file whole or not at all; a home that cannot be written costs only progress."""
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix="progress-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(kept, file, indent=1, sort_keys=True)
            os.replace(name, folder / "progress.json")
        except OSError:
            os.unlink(name)
            raise
    except OSError as error:
        if folder not in _unsaved:
            print(
                f"Your progress is kept in this kernel only ({error.strerror or error}: {folder}). "
                "The lab goes on; to keep it, make room there, or set LABS_HOME to another folder.",
                file=sys.stderr,
            )
        _unsaved[folder] = kept
    else:
        _unsaved.pop(folder, None)
