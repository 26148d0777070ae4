"""Calls of a program in a pod: none reaches a file, a socket or a process that is not the pod's."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labsandbox.client import Client
from labsandbox.client.resources import CONFIGMAPS, NODES, PODS
from tests.attack.arena import LEARNER, TENANTS, Arena, Count, Tenant
from tests.attack.doors import pod
from tests.processes import environment_of, words_of
from tests.sandbox.platform.program import family, until

INTRUDER = Path(__file__).with_name("intruder.py")


SLEEPS = itertools.count(98_765)
"""For how long another tenant's programs sleep: the mark of each on the machine."""
WITHIN = ["secrets", "pods", "configmaps", "serviceaccounts", "events"]
FRONT = ["v1/tenant", "v1/user", "v2/k8skubeconfig", "v2/k8scluster", "v1/session"]
VISITS = 100
"""How many requests a program makes on a push; at night it makes all."""
NODE = ["pods", "stats/summary", "metrics", "logs/", "runningpods/"]


@pytest.fixture(scope="module")
def bystander() -> Iterator[int]:
    """Run a program of the host's user."""
    with subprocess.Popen(["sleep", "1000"]) as program:
        yield program.pid
        program.kill()


def intrude(arena: Arena, user: str, plan: dict[str, Any]) -> Count:
    """Run the intruder in a pod; return what it says and what was seen from outside."""
    tenant, name = arena.tenants[user], arena.name("intruder")
    count = Count(f"program in a pod, {user}")
    arena.counts.append(count)
    data = {"intruder.py": INTRUDER.read_text(), "plan.json": json.dumps(plan)}
    arena.run(
        tenant.client.create(
            CONFIGMAPS, {"metadata": {"name": name}, "data": data}, tenant.namespace
        )
    )
    made = pod(
        name,
        "exec python3 $POD_ROOT/plan/intruder.py $POD_ROOT/plan/plan.json",
        volumes=[{"name": "v", "configMap": {"name": name}}],
        volumeMounts=[{"name": "v", "mountPath": "/plan"}],
    )
    before, arena.visits[:] = arena.snapshot(), []
    shown = arena.play(tenant, [made])[name]
    (line,) = [line for line in shown.splitlines() if line.startswith("REPORT ")] or [shown]
    report = json.loads(line.removeprefix("REPORT "))
    count.tries = report["tries"]
    count.successes += report["successes"]
    count.successes += arena.changes(before)
    count.successes += arena.visits
    return count


def neighbour(arena: Arena, attacker: Tenant) -> tuple[Tenant, str, int, str]:
    """Run a program of another tenant that leaves a file open to everybody.

    Return whose it is, its pod's name, its process and the file.
    """
    other, name = arena.other(attacker), arena.name("neighbour")
    words = ["sleep", str(next(SLEEPS))]
    left = f"umask 0; echo {arena.secret} > $POD_ROOT/tmp/open"
    made = pod(name, f"{left}; exec {' '.join(words)}")
    uid = arena.run(other.client.create(PODS, made, other.namespace))["metadata"]["uid"]

    opened = arena.state / "node" / "pods" / uid / "c-c" / "root" / "tmp" / "open"

    def find() -> list[int]:
        """Return the neighbour's process; another platform may run one with the same words."""
        return [
            p.pid
            for p in psutil.process_iter(["cmdline"])
            if p.info["cmdline"] == words and uid in environment_of(p).get("POD_ROOT", "")
        ]

    until("the neighbour's program to run, its file left", lambda: find() and opened.exists())
    assert arena.secret in opened.read_text()
    return other, name, find()[0], str(opened)


def services_for(arena: Arena, attacker: Tenant, other: Tenant, name: str) -> list[str]:
    """Return addresses at which a pod without rights is told nothing."""
    api, door = attacker.client.access.server, arena.environment["EZMERAL_URL"]
    found = [
        f"{api}/api/v1/namespaces/{space}/{kind}"
        for space in (attacker.namespace, other.namespace, "kube-system")
        for kind in WITHIN
    ]
    found += [
        f"{api}/api/v1/namespaces/{other.namespace}/pods/{name}/{do}" for do in ("log", "exec")
    ]
    found += [f"{api}/api/v1/{kind}" for kind in ("nodes", "secrets", "namespaces", "pods")]
    found += [f"{door}/api/{path}" for path in FRONT]

    async def node() -> str:
        async with Client.from_kubeconfig(arena.state / "admin.conf") as client:
            (one,) = await client.list(NODES)
        port = one["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        return f"https://{one['status']['addresses'][0]['address']}:{port}"

    agent = arena.run(node())
    found += [f"{agent}/{path}" for path in NODE]
    found += [f"{agent}/containerLogs/{other.namespace}/{name}/c"]
    return [*found, f"{agent}/exec/{other.namespace}/{name}/c?command=id&output=1"]


def plan_for(arena: Arena, user: str, seed: int, bystander: int, visits: int) -> dict[str, Any]:
    attacker = arena.tenants[user]
    targets = arena.targets(attacker)
    other, name, program, opened = neighbour(arena, attacker)
    parts = [one for one in family(arena.state) if "labsandbox" in " ".join(words_of(one))]
    ours = [process.pid for process in parts]
    assert len(ours) >= 3, "platform, API server, keeper"
    return {
        "secrets": arena.known(targets),
        "targets": [*targets, opened],
        "sockets": arena.sockets,
        "pids": [bystander, program, *ours],
        "services": services_for(arena, attacker, other, name),
        "seed": seed,
        "limit": 10_000,
        "visits": visits,
    }


@pytest.mark.sandbox
@pytest.mark.timeout(600)
@pytest.mark.parametrize("user", TENANTS)
def test_program_reaches_nothing_outside_its_pod(
    arena: Arena, user: str, seed: int, bystander: int
) -> None:
    count = intrude(arena, user, plan_for(arena, user, seed, bystander, VISITS))
    assert count.tries > 1000
    assert count.successes == []


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("user", [*TENANTS, LEARNER])
def test_program_is_told_nothing_by_any_service(
    arena: Arena, user: str, seed: int, bystander: int
) -> None:
    count = intrude(arena, user, plan_for(arena, user, seed, bystander, 10_000))
    assert count.tries > 2000
    assert count.successes == []
