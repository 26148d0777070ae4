"""A crowd of callers: they ask a service again and again, and count what goes wrong.

    with Crowd(lambda: ask(ride).ok, callers=8) as meanwhile:  # until the block ends
        scale_to(2)
    print(meanwhile.asked, meanwhile.failed)

`Crowd(ask).send(400)` sends so many and returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

__all__ = ["Crowd"]

RETRY_DELAY = 0.05  # after a failure; or a service that is away is asked without end


class Crowd:
    """Callers who ask until they are stopped; no answer at all is a failure, too."""

    def __init__(self, ask: Callable[[], object], callers: int = 1) -> None:
        self.milliseconds: list[float] = []  # of each request, in the order of the answers
        self.failed = 0
        self._ask, self._callers = ask, callers
        self._left: float = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def asked(self) -> int:
        """Return how many requests have ended, well or not."""
        return len(self.milliseconds)

    def send(self, count: int) -> Crowd:
        """Send so many requests, wait for the last answer, and return the crowd.

        >>> Crowd(lambda: True, callers=3).send(10).asked
        10
        """
        self._begin(count)
        for thread in self._threads:
            thread.join()
        return self

    def start(self) -> Crowd:
        """Begin to ask, and return at once; a crowd that asks already goes on."""
        if not any(thread.is_alive() for thread in self._threads):
            self._begin(float("inf"))
        return self

    def stop(self) -> Crowd:
        """Let each caller wait for the answer under way, then no more; safe to call twice."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self

    def __enter__(self) -> Crowd:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _begin(self, count: float) -> None:
        self._stopped.clear()
        self._left = count
        # Daemons: a kernel that is restarted in the middle of a lab does not wait for them.
        self._threads = [
            threading.Thread(target=self._ask_on, daemon=True) for _ in range(self._callers)
        ]
        for thread in self._threads:
            thread.start()

    def _ask_on(self) -> None:
        while self._is_next() and not self._stopped.is_set():
            began = time.perf_counter()
            try:
                is_fine = bool(self._ask())
            except Exception:  # whatever kept the answer away, the caller has none
                is_fine = False
            with self._lock:
                self.milliseconds.append((time.perf_counter() - began) * 1000)
                self.failed += not is_fine
            if not is_fine:
                self._stopped.wait(RETRY_DELAY)

    def _is_next(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0
