"""Paths in manifests: whatever they are and whatever lies in their way, they lead nowhere."""

from __future__ import annotations

import itertools

import pytest

from tests.attack.arena import TENANTS, Arena, Count
from tests.attack.doors import DOORS
from tests.attack.tricks import Trick, cases, of_file

BATCH = 10


def play(arena: Arena, user: str, door: str, chosen: list[tuple[str, Trick]]) -> Count:
    """Play tricks at a door as one tenant's member; return what came of it."""
    count, tenant = Count(f"{door}, {user}"), arena.tenants[user]
    arena.counts.append(count)
    secrets = arena.known(arena.targets(tenant))
    for start in range(0, len(chosen), BATCH):
        before = arena.snapshot()
        names = {arena.name("attack"): case for case in chosen[start : start + BATCH]}
        shown = arena.play(tenant, [DOORS[door](n, trick) for n, (_, trick) in names.items()])
        for name, (target, trick) in names.items():
            is_read = any(secret in shown[name] for secret in secrets)
            count.add(f"{trick.name} {target}", is_read)
        after = arena.snapshot()
        count.successes += [
            p for p in before.keys() | after.keys() if before.get(p) != after.get(p)
        ]
    return count


def choose(arena: Arena, user: str, seed: int, limit: int) -> list[tuple[str, Trick]]:
    """Return what to try: files of the host and, for what removes and makes, their folders."""
    targets = arena.targets(arena.tenants[user])
    return list(cases(targets, of_file, seed, limit))


ALL = list(itertools.product(DOORS, TENANTS))
# In CI each door is tried by one tenant, in turns.
SOME = [(door, user) for door, user in zip(DOORS, itertools.cycle(TENANTS), strict=False)]


@pytest.mark.sandbox
@pytest.mark.parametrize(("door", "user"), SOME)
def test_path_of_a_manifest_leads_nowhere(arena: Arena, door: str, user: str, seed: int) -> None:
    number = ALL.index((door, user))
    assert play(arena, user, door, choose(arena, user, seed + number, 4)).successes == []


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("door", "user"), ALL)
def test_every_path_of_every_manifest_leads_nowhere(
    arena: Arena, door: str, user: str, seed: int
) -> None:
    chosen = choose(arena, user, seed, 10_000)
    assert play(arena, user, door, chosen).successes == []
