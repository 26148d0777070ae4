"""Volumes of another tenant: a claim that names one mounts nothing."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox.client import Client
from labsandbox.client.resources import PVCS, PVS
from tests.attack.arena import TENANTS, Arena, Count, Tenant
from tests.attack.doors import SHOW, pod

pytestmark = pytest.mark.sandbox

Object = dict[str, Any]


def claim(name: str, **spec: Any) -> Object:
    size = {"requests": {"storage": "1Mi"}}
    return {
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": size, **spec},
    }


def keep(arena: Arena, owner: Tenant) -> str:
    """Have a tenant keep a secret in a volume of its own; return the volume's name."""
    name = arena.name("kept")
    arena.run(owner.client.create(PVCS, claim(name), owner.namespace))
    script = f"echo {arena.secret} > $POD_ROOT/m/kept; touch $POD_ROOT/m/x"
    arena.play(owner, [_using(name, script)])
    bound = arena.run(owner.client.get(PVCS, name, owner.namespace))
    return str(bound["spec"]["volumeName"])


def _using(name: str, script: str) -> Object:
    source = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
    mounts = [{"name": "v", "mountPath": "/m"}]
    return pod(f"{name}-pod", script, volumes=[source], volumeMounts=mounts)


@pytest.mark.parametrize("user", TENANTS)
def test_claim_that_names_another_tenants_volume_mounts_nothing(arena: Arena, user: str) -> None:
    attacker = arena.tenants[user]
    victim = arena.other(attacker)
    volume = keep(arena, victim)
    count = Count(f"claim, {user}")
    arena.counts.append(count)
    for more in ({}, {"storageClassName": ""}, {"storageClassName": "project-repo"}):
        name = arena.name("stolen")
        wanted = claim(name, volumeName=volume, **more)
        arena.run(attacker.client.create(PVCS, wanted, attacker.namespace))
        script = SHOW.format("$POD_ROOT/m") + "; echo taken > $POD_ROOT/m/kept"
        shown = arena.play(attacker, [_using(name, script)])
        count.add(f"{volume} {more}", arena.secret in shown[f"{name}-pod"])
    assert count.successes == []
    assert arena.run(_content(arena, volume)) == f"{arena.secret}\n"


async def _content(arena: Arena, volume: str) -> str:
    async with Client.from_kubeconfig(arena.state / "admin.conf") as client:
        found = await client.get(PVS, volume)
    with open(f"{found['spec']['hostPath']['path']}/kept") as file:
        return file.read()
