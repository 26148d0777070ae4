"""Every part runs on the loop of `labsandbox up`, and what blocks that loop is named."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from pathlib import Path

import pytest
import uvloop

import labsandbox
from labsandbox import loop
from labsandbox.loop import BLOCKED, Watchdog

pytestmark = pytest.mark.fast

PACKAGE = Path(labsandbox.__file__).parent
_OWN_LOOP = re.compile(r"\b(asyncio|uvloop)\.(run|Runner|install)\(")


def test_run_uses_the_fast_loop() -> None:
    async def look() -> object:
        return asyncio.get_running_loop()

    assert isinstance(loop.run(look()), uvloop.Loop)


def test_every_program_of_the_platform_is_started_by_run() -> None:
    mains = {*PACKAGE.glob("*/__main__.py"), PACKAGE / "platform.py"}
    assert len(mains) >= 5
    texts = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    mains.add(PACKAGE / "program.py")  # what the other programs call
    starts = re.compile(r" (loop|program)\.run\(")
    assert [str(path) for path in mains if not starts.search(texts[path])] == []
    unbound = [str(path) for path in mains if "program.run(" not in texts[path]]
    assert [path for path in unbound if "bounds.protect()" not in Path(path).read_text()] == []
    own = {path.name for path, text in texts.items() if _OWN_LOOP.search(text)}
    # short questions from outside the platform
    assert own - {"loop.py"} <= {"sandbox.py", "diagnosis.py"}


def test_no_part_asks_whether_a_transport_is_one_of_asyncio() -> None:
    """Transports and handles of uvloop are no subclasses of asyncio's: the answer is always no."""
    question = re.compile(r"isinstance\([^)]*asyncio\.\w*(Transport|Handle|Server)\b")
    asking = [str(p) for p in PACKAGE.rglob("*.py") if question.search(p.read_text())]
    assert asking == []


def blocked_by(work: object, caplog: pytest.LogCaptureFixture, cpu: float, wait: float) -> str:
    """Run a coroutine under a watchdog and return what that logged."""

    async def play() -> None:
        with Watchdog(asyncio.get_running_loop(), cpu, wait):
            await asyncio.create_task(work(), name="pod t1/greedy")  # type: ignore[operator]

    with caplog.at_level(logging.WARNING, "labsandbox.watchdog"):
        asyncio.run(play())
    return caplog.text


def test_task_that_never_yields_is_named_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    async def spin() -> None:
        began = time.thread_time()
        while time.thread_time() - began < 1.5:
            sum(range(1000))

    text = blocked_by(spin, caplog, 0.3, 60)
    assert f"'pod t1/greedy' {BLOCKED}" in text
    assert "in spin" in text
    assert text.count(BLOCKED) == 1


def test_loop_that_works_but_yields_is_not_blocked(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        began = time.thread_time()
        while time.thread_time() - began < 1.0:
            sum(range(1000))
            await asyncio.sleep(0)

    assert blocked_by(work, caplog, 0.3, 60) == ""


def test_wait_without_work_is_a_warning_of_another_kind(caplog: pytest.LogCaptureFixture) -> None:
    async def wait() -> None:
        threading.Event().wait(1.2)

    text = blocked_by(wait, caplog, 0.3, 0.3)
    assert "kept the event loop waiting" in text
    assert BLOCKED not in text


@pytest.mark.timeout(30)
def test_watchdog_that_is_left_while_it_asks_the_loop_ends() -> None:
    """The loop is left while the watchdog is about to ask it to turn: it never will."""
    asking, left = threading.Event(), threading.Event()

    class Turned(threading.Event):
        def set(self) -> None:
            super().set()
            left.set()

        def clear(self) -> None:
            asking.set()
            left.wait(20)
            super().clear()

    async def work() -> bool:
        dog = Watchdog(asyncio.get_running_loop())
        dog._turned = Turned()
        with dog:
            await asyncio.to_thread(asking.wait, 20)
        return dog._thread.is_alive()

    assert asyncio.run(work()) is False
