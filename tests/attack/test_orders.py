"""Paths in orders: KubeDirector and the workbench make nothing of them that leads out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.attack.arena import LEARNER, TENANTS, Arena, Count
from tests.attack.orders import (
    KDCLUSTER,
    WORKBENCH,
    Workbench,
    kdcluster,
    kept_copies,
    order,
    prepare,
    prepared,
)
from tests.attack.tricks import cases, of_file

OWNERS = [*TENANTS, LEARNER]
AT_ONCE = 4


def play_kdclusters(arena: Arena, user: str, seed: int, limit: int) -> Count:
    """Order a kdcluster for each trick, some at once; each door gets as many."""
    count, tenant = Count(f"kdcluster, {user}"), arena.tenants[user]
    arena.counts.append(count)
    prepare(arena, tenant)
    targets = arena.targets(tenant)
    secrets = arena.known(targets)
    chosen = [
        (door, target, trick)
        for door in KDCLUSTER
        for target, trick in cases(targets, of_file, seed, limit)
    ]
    before = arena.snapshot()
    for start in range(0, len(chosen), AT_ONCE):
        rows = chosen[start : start + AT_ONCE]
        names = {arena.name("order"): row for row in rows}
        made = [kdcluster(name, door, trick) for name, (door, _, trick) in names.items()]

        async def play(made: list[dict[str, object]] = made) -> list[str]:
            return await asyncio.gather(*(order(tenant, obj) for obj in made))

        for shown, (door, target, trick) in zip(arena.run(play()), names.values(), strict=True):
            is_read = any(secret in shown for secret in secrets)
            count.add(f"{door} {trick.name} {target}", is_read)
    count.successes += arena.changes(before)
    return count


@pytest.fixture(scope="module")
def bench(arena: Arena) -> Iterator[Workbench]:
    """A workbench of a student."""
    made = Workbench(arena, arena.tenants["student1"])
    try:
        yield made.start()
    finally:
        made.stop()


def play_workbench(arena: Arena, bench: Workbench, seed: int, limit: int) -> Count:
    """Ask a workbench for every door with each trick, in a project with links a learner made."""
    count, tenant = Count(f"workbench, {bench.tenant.user}"), bench.tenant
    arena.counts.append(count)
    # Only what is ours: the workbench is not confined here, and a door writes.
    targets = [t for t in arena.targets(tenant) if t.startswith(str(arena.state.parent))]
    secrets = arena.known(targets)
    chosen = list(cases(targets, of_file, seed, limit))
    status, project = bench.ask("POST", "/projects", {"name": arena.name("attack")})
    assert status == 200, project
    number = project["id"]
    bench.ask("PUT", f"/projects/{number}/files/predict.py", b"def predict(x): return x\n")
    name = arena.name("prepare")
    shown = arena.play(tenant, [prepared(name, number, [trick for _, trick in chosen])])[name]
    assert '"exitCode": 0' in shown, shown
    before = arena.snapshot()
    for place, (target, trick) in enumerate(chosen):
        path = trick.path if trick.path.startswith("/") else f"t{place}/{trick.path}"
        for door, act in WORKBENCH.items():
            said = act(bench, number, path)
            assert said[0] < 500, (door, trick, said)
            count.add(f"{door} {trick.name} {target}", any(s in str(said) for s in secrets))
    count.successes += arena.changes(before)
    count.successes += kept_copies(bench.repository, secrets)
    return count


@pytest.mark.sandbox
def test_paths_of_a_workbench_lead_nowhere(arena: Arena, bench: Workbench, seed: int) -> None:
    assert play_workbench(arena, bench, seed, 12).successes == []


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_every_path_of_a_workbench_leads_nowhere(arena: Arena, bench: Workbench, seed: int) -> None:
    assert play_workbench(arena, bench, seed, 10_000).successes == []


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("user", OWNERS)
def test_paths_of_a_kdcluster_lead_nowhere(arena: Arena, user: str, seed: int) -> None:
    assert play_kdclusters(arena, user, seed, 8).successes == []


@pytest.mark.sandbox
def test_copy_of_a_secret_is_found(arena: Arena, bench: Workbench) -> None:
    """Prove that the search of a workbench's folders would see one."""
    kept = bench.repository / "workbench" / "kept"
    kept.write_text(f"a copy of {arena.secret}")
    try:
        assert list(kept_copies(bench.repository, [arena.secret])) == [str(kept)]
    finally:
        kept.unlink()
