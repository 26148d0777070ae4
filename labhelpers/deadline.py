"""Wait for the world to change: with a deadline, a condition and a phrase, never blindly.

On time-out the error says what was waited for, how long, and the last thing that was seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["WaitTimeout", "wait"]

Seen = TypeVar("Seen")


class WaitTimeout(TimeoutError):
    """The deadline passed; the text ends with the last thing seen.

    TimeoutError
    └── WaitTimeout
    """

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentences alone: a learner needs no stack of ours."""
        return [f"WaitTimeout: {self}"]


def wait(
    phrase: str,
    observe: Callable[[], Seen],
    until: Callable[[Seen], object] = bool,
    *,
    deadline: float = 60.0,
    every: float = 0.5,
    ignoring: tuple[type[Exception], ...] = (OSError,),
    on_change: Callable[[Seen], object] | None = None,
) -> Seen:
    """Look again and again until the condition holds; return what was seen then.

    `on_change` is called with each new thing seen (a live view). Errors of the kinds named in
    `ignoring` count as "not yet".

    >>> steps = iter(["creating", "creating", "configured"])
    >>> wait("the cluster", lambda: next(steps), until=lambda s: s == "configured", every=0)
    'configured'
    >>> wait("a guest", lambda: "an empty road", until=lambda s: s == "a guest", deadline=0)
    Traceback (most recent call last):
    labhelpers.deadline.WaitTimeout: Waited 0 s for a guest; last seen: an empty road.
    """
    end = time.monotonic() + deadline
    last: object = "nothing yet"
    cause: Exception | None = None
    while True:
        try:
            seen = observe()
        except ignoring as error:
            last, cause = f"{type(error).__name__}: {error}", error
        else:
            if on_change is not None and (cause is not None or seen != last):
                on_change(seen)
            last, cause = seen, None
            if until(seen):
                return seen
        left = end - time.monotonic()
        if left <= 0:
            raise WaitTimeout(f"Waited {deadline:g} s for {phrase}; last seen: {last}.") from cause
        time.sleep(min(every, left))
