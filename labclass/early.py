"""Start the learners' servers before the learners come, one after the other.

A server needs seconds of a processor to start: when twelve people sign in at the same moment, all
of them wait. Started in advance, their first page is there at once. It goes on only while the
machine has memory; the server of whoever comes sooner is started by the hub, as ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Event

import psutil
import requests

__all__ = ["TOKEN", "free_memory", "start_servers"]

TOKEN = "early_token"  # the file of the hub's secrets; its service may start servers, no more
RESERVE = 0.25  # of the machine's memory stays free for the labs
_SECONDS, _LOOK = 120.0, 0.25


def start_servers(
    api: str,
    token: str,
    names: Iterable[str],
    is_over: Event,
    free: Callable[[], float],
) -> tuple[int, str]:
    """Start servers until it is over; return how many are there, and why not all, if not."""
    there = 0
    with requests.Session() as http:
        http.trust_env = False
        http.headers["Authorization"] = f"token {token}"
        for name in names:
            if free() < RESERVE:
                return there, f"less than {RESERVE:.0%} of the memory is free"
            try:
                http.post(f"{api}/users/{name}/server", timeout=_SECONDS).raise_for_status()
                there += _is_ready(http, f"{api}/users/{name}", is_over)
            except requests.RequestException as error:
                answer = error.response
                if answer is None or answer.status_code != 400:  # 400: it is there, or starts
                    said = error if answer is None else answer.text[:200]
                    return there, f"the hub said: {said}"
                there += 1
            if is_over.is_set():
                return there, "the class ended"
    return there, ""


def free_memory() -> float:
    """Return the part of the machine's memory that programs can still have."""
    memory = psutil.virtual_memory()
    return float(memory.available / memory.total)


def _is_ready(http: requests.Session, user: str, is_over: Event) -> bool:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and not is_over.wait(_LOOK):
        answer = http.get(user, timeout=_SECONDS)
        answer.raise_for_status()
        found = answer.json()["servers"].get("", {})
        if not found.get("pending"):
            return bool(found.get("ready"))
    return False
