"""Folders swapped for links, as fast as it goes, while the node's agent mounts them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attack.arena import IMAGE, TENANTS, Arena, Count
from tests.attack.doors import SHOW, pod

Object = dict[str, Any]

_SWAP = """
import ctypes, os
folder = os.environ["POD_ROOT"] + "/v/"
exchange = ctypes.CDLL(None).renameat2
names = (-100, os.fsencode(folder + "a"), -100, os.fsencode(folder + "b"), 2)
while True:
    exchange(*names)
"""


def swapping(name: str, target: str, count: int) -> Object:
    """Return a pod that swaps a folder for a link while its containers are started on it."""
    mounts = [{"name": "v", "mountPath": "/v"}]
    made = pod(name, "true", volumes=[{"name": "v", "emptyDir": {}}])
    folder, _, file = target.rpartition("/")
    begin = ["sh", "-c", f"mkdir $POD_ROOT/v/a; ln -s {folder} $POD_ROOT/v/b"]
    swap = ["python3", "-c", _SWAP]
    made["spec"]["initContainers"] = [
        {"name": "begin", "command": begin},
        {"name": "swap", "command": swap, "restartPolicy": "Always"},
    ]
    for container in made["spec"]["initContainers"]:
        container |= {"image": IMAGE, "volumeMounts": mounts}
    # It looks for a while: what it was allowed at its start may be behind the name in a moment.
    look = "; ".join([SHOW.format("$POD_ROOT/m"), "echo taken > $POD_ROOT/m/taken"] * 20)
    made["spec"]["containers"] = [
        {
            "name": f"c{number}",
            "image": IMAGE,
            "command": ["sh", "-c", f"{look}; exit 1"],
            "workingDir": "/v/a/made" if number % 3 == 2 else "/",
            "terminationMessagePath": f"/v/a/{file}",
            "volumeMounts": [
                *mounts,
                {"name": "v", "mountPath": "/m", "subPath": "a" if number % 2 else "b"},
            ],
        }
        for number in range(count)
    ]
    return made


def race(arena: Arena, user: str, rounds: int, containers: int = 10) -> Count:
    count, tenant = Count(f"swapped folders, {user}"), arena.tenants[user]
    arena.counts.append(count)
    targets = arena.targets(tenant)
    secrets = arena.known(targets)
    before = arena.snapshot()
    for number in range(rounds):
        name, target = arena.name("race"), targets[number % len(targets)]
        shown = arena.play(tenant, [swapping(name, target, containers)])[name]
        is_read = any(secret in shown for secret in secrets)
        for container in range(containers):
            count.add(f"{container} {target}", is_read)
    count.successes += arena.changes(before)
    return count


@pytest.mark.sandbox
@pytest.mark.parametrize("user", TENANTS)
def test_folder_swapped_for_a_link_is_not_mounted(arena: Arena, user: str) -> None:
    assert race(arena, user, 1).successes == []


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("user", TENANTS)
def test_folder_swapped_for_a_link_is_never_mounted(arena: Arena, user: str) -> None:
    assert race(arena, user, 60).successes == []
