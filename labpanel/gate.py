"""Whether the platform's settings are here already: JupyterLab starts beside the sandbox.

Open from the beginning where nothing is awaited: on a hub, or with a platform that exists.
"""

from __future__ import annotations

import threading

_open = threading.Event()
_open.set()


def shut() -> None:
    """Let kernels and terminals wait from here on."""
    _open.clear()


def unlock() -> None:
    """Let them start: the environment is complete."""
    _open.set()


def is_shut() -> bool:
    """Tell whether the settings are still awaited."""
    return not _open.is_set()


def wait(seconds: float) -> bool:
    """Wait until the settings are there, so long at most; tell whether they are."""
    return _open.wait(seconds)
