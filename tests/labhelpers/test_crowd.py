"""A crowd asks as often as it is told, or until it is stopped, and counts every failure."""

from __future__ import annotations

import itertools
import threading

import pytest

from labhelpers.crowd import Crowd
from labhelpers.deadline import wait

pytestmark = pytest.mark.fast


def test_crowd_sends_what_it_is_told_and_counts_what_fails() -> None:
    numbers = itertools.count()
    crowd = Crowd(lambda: next(numbers) % 10, callers=4).send(40)
    assert (crowd.asked, crowd.failed) == (40, 4)
    assert all(took >= 0 for took in crowd.milliseconds)


def test_answer_that_does_not_come_is_a_failure() -> None:
    def refuse() -> bool:
        raise ConnectionError("nobody is there")

    crowd = Crowd(refuse).send(2)
    assert (crowd.asked, crowd.failed) == (2, 2)


def test_crowd_asks_until_its_block_ends() -> None:
    with Crowd(lambda: True, callers=2) as crowd:
        wait("some answers", lambda: crowd.asked > 5, every=0.01)
    asked = crowd.asked
    assert crowd.stop().asked == asked, "nobody asks any more"
    assert crowd.failed == 0
    assert not any(thread.is_alive() for thread in crowd._threads)


def test_crowd_started_twice_is_one_crowd() -> None:
    crowd = Crowd(lambda: True).start()
    threads = list(crowd._threads)
    assert crowd.start()._threads == threads
    crowd.stop()


def test_callers_are_under_way_at_once() -> None:
    meeting = threading.Barrier(5)
    crowd = Crowd(lambda: meeting.wait(20) >= 0, callers=5).send(5)
    assert crowd.failed == 0
