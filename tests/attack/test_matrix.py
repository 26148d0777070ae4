"""Whoever asks, in whatever way: a path of a manifest leads nowhere, and a stranger is refused."""

from __future__ import annotations

import itertools

import pytest

from tests.attack.arena import LEARNER, TENANTS, Arena, Count
from tests.attack.matrix import Case, ask, cases, knock, play
from tests.attack.tricks import Trick
from tests.attack.ways import WAYS

STRANGERS = ["other tenant", "class learner", "nobody", "a pod's account", "an ended session"]
OWNERS = [*TENANTS, LEARNER]
QUICK = [way for way in WAYS if not WAYS[way].is_slow]
# On a push each way is taken by one of them, in turns.
SOME = list(zip(QUICK, itertools.cycle(OWNERS), strict=False))
SOME_STRANGERS = list(zip(WAYS, itertools.cycle(STRANGERS), strict=False))
EVERY = list(itertools.product(WAYS, OWNERS))
EVERY_STRANGER = list(itertools.product(WAYS, STRANGERS))
NIGHTLY_TRIES, NIGHTLY_REQUESTS = 12, 60
"""For each way and each who asks: pods that are looked at; requests that must be refused."""


def limit_of(way: str, most: int) -> int:
    return most // 10 if way.startswith("kubectl") else most


@pytest.mark.sandbox
@pytest.mark.parametrize(("way", "user"), SOME)
def test_pod_asked_for_in_any_way_reaches_nothing(
    arena: Arena, way: str, user: str, seed: int
) -> None:
    targets = arena.targets(arena.tenants[user])
    assert play(arena, user, way, cases(targets, f"{seed} {way}", 2)).successes == []


@pytest.mark.sandbox
@pytest.mark.parametrize(("way", "name"), SOME_STRANGERS)
def test_pod_is_refused_to_who_may_not(arena: Arena, way: str, name: str, seed: int) -> None:
    targets = arena.targets(arena.tenants["student1"])
    limit = limit_of(way, 20)
    count = knock(arena, name, way, cases(targets, f"{seed} {way} {name}", limit))
    assert (count.tries, count.successes) == (limit, [])


@pytest.mark.sandbox
def test_what_may_be_done_counts_as_a_success(arena: Arena) -> None:
    """Prove that the matrix sees one: somebody reads their own file, and asks for their own pod."""
    student = arena.tenants["student1"]
    thesis = str(arena.state / "projects" / student.namespace / "thesis")
    own = Case("command", Trick("plain", thesis), thesis)
    assert play(arena, student.user, "Job", [own]).successes == [str(own)]
    del arena.counts[-1]
    count = Count("their own")
    arena.run(ask(arena, count, WAYS["create"], student, student, [own]))
    assert len(count.successes) == 2, "the request, and the pod that came of it"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("way", "user"), EVERY)
def test_every_way_of_every_tenant_reaches_nothing(
    arena: Arena, way: str, user: str, seed: int
) -> None:
    targets = arena.targets(arena.tenants[user])
    chosen = cases(targets, f"{seed} {way} {user}", NIGHTLY_TRIES)
    assert play(arena, user, way, chosen).successes == []


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("way", "name"), EVERY_STRANGER)
def test_every_way_is_refused_to_who_may_not(arena: Arena, way: str, name: str, seed: int) -> None:
    targets = arena.targets(arena.tenants["student1"])
    limit = limit_of(way, NIGHTLY_REQUESTS)
    count = knock(arena, name, way, cases(targets, f"{seed} {way} {name} night", limit))
    assert (count.tries, count.successes) == (limit, [])
