"""Look at a sandbox from outside: what runs, and what keeps it from working."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import aiohttp
import psutil

from labsandbox import network, ports, sandbox
from labsandbox.client import ApiError, Client, ClientError, Object
from labsandbox.client.resources import KDCLUSTERS, NAMESPACES, NODES, PODS, SERVICES
from labsandbox.gateway import mapping
from labsandbox.kubedirector import diagnose
from labsandbox.state import State

_ASK_SECONDS = 10
_CLOCK_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: whether it is well, and what to do when it is not."""

    ok: bool
    what: str
    cure: str = ""


def status(place: State) -> dict[str, Any]:
    """Return what runs, as data."""
    facts = sandbox.facts(place)
    found: dict[str, Any] = {
        "state": str(place.root),
        "running": facts is not None,
        "ready": bool(facts and facts.ready),
    }
    if facts is None:
        return found
    found |= {"phase": facts.phase, "pid": facts.pid, "memory_mb": _memory(facts.pid) >> 20}
    found["tables"] = asyncio.run(_tables(place)) if facts.ready else {}
    return found


def _memory(pid: int) -> int:
    """Return the resident memory of the platform and its children that are no pods."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=False)]
        return sum(int(member.memory_info().rss) for member in family)
    except psutil.Error:
        return 0


async def _tables(place: State) -> dict[str, list[list[str]]]:
    async with Client.from_kubeconfig(place.admin_kubeconfig) as client:
        clusters = await client.list(KDCLUSTERS)
        pods = await client.list(PODS)
        services = await client.list(SERVICES, labels=f"{mapping.LABEL}=true")
    return {
        "KubeDirector clusters": [
            ["namespace", "name", "app", "state", "ready", "problem"],
            *([*_named(one), one["spec"]["app"], *_state(one)] for one in clusters),
        ],
        "Pods": [
            ["namespace", "pods", "phases"],
            *(
                [name, str(sum(phases.values())), _phrase(phases)]
                for name, phases in _phases(pods).items()
            ),
        ],
        "Gateway": [
            ["namespace", "service", "address"],
            *(
                [*_named(service), f"127.0.0.1:{port}"]
                for service in services
                for port in mapping.recorded(service).values()
            ),
        ],
    }


def _named(obj: Object) -> list[str]:
    return [obj["metadata"]["namespace"], obj["metadata"]["name"]]


def _state(cluster: Object) -> list[str]:
    status = cluster.get("status") or {}
    return [
        str(status.get("state") or "new"),
        str(status.get("readyMembers") or ""),
        str(status.get("problem") or ""),
    ]


def _phases(pods: list[Object]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for pod in pods:
        phase = str((pod.get("status") or {}).get("phase", "Pending"))
        found.setdefault(pod["metadata"]["namespace"], Counter())[phase] += 1
    return found


def _phrase(phases: Counter[str]) -> str:
    return ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))


def examine(place: State) -> list[Finding]:
    """Look at everything that commonly goes wrong."""
    findings = [_disk(place), _memory_left(), _loopback()]
    facts = sandbox.facts(place)
    findings.append(
        Finding(
            facts is not None,
            f"a platform runs in {place.root}",
            "Start it with `labsandbox up`; `labsandbox logs` says why it ended, if it did.",
        )
    )
    if facts is None:
        return [*findings, *_ports_free()]
    findings.append(
        Finding(facts.ready, f"the platform is ready (it says: {facts.phase})", "Wait, or `logs`.")
    )
    return findings + asyncio.run(_examine_cluster(place))


def _disk(place: State) -> Finding:
    folder = place.root if place.root.exists() else place.root.anchor
    free = shutil.disk_usage(folder).free
    return Finding(free > 1 << 30, f"{free >> 30} GB of disk are free", "Free at least 1 GB.")


def _memory_left() -> Finding:
    free = psutil.virtual_memory().available
    return Finding(
        free > 1 << 30, f"{free >> 20} MB of memory are free", "Close something: labs need 2 GB."
    )


def _loopback() -> Finding:
    if network.has_addresses():
        return Finding(True, "pods can have addresses of their own (127.244.0.0/16)")
    # Not a fault: most applications run so. `labsandbox up` says which do not.
    return Finding(True, "pods share 127.0.0.1, each with ports of its own")


def _ports_free() -> list[Finding]:
    # Not a fault: the platform takes other ports and prints them.
    return [
        Finding(True, f"port {port} is {'free' if ports.is_free(port) else 'taken by another'}")
        for port in (8080, 9500)
    ]


async def _examine_cluster(place: State) -> list[Finding]:
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            async with Client.from_kubeconfig(place.admin_kubeconfig) as client:
                return await _ask(client)
    except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
        return [
            Finding(
                False,
                f"the Kubernetes API answers ({type(error).__name__}: {error})",
                "Type `labsandbox logs`, then `labsandbox down` and `labsandbox up`.",
            )
        ]


async def _ask(client: Client) -> list[Finding]:
    namespaces = await client.list(NAMESPACES)
    findings = [Finding(True, f"the Kubernetes API answers ({len(namespaces)} namespaces)")]
    findings.append(await _clock(client))
    findings += [_confinement(node) for node in await client.list(NODES)]
    for pod in await client.list(PODS):
        findings += _pod_findings(pod)
    return findings + await _operator_findings(client)


def _confinement(node: Object) -> Finding:
    """Say what the node's own condition says about how its pods are confined."""
    conditions = (node.get("status") or {}).get("conditions") or []
    found: Object = next((one for one in conditions if one["type"] == "PodsConfined"), {})
    return Finding(
        found.get("status") == "True",
        f"pods of {node['metadata']['name']} are confined ({found.get('message', 'not known')})",
        "Use a kernel with Landlock (Linux 5.13 or newer, `landlock` in the boot option lsm=), or "
        "run only pods you trust.",
    )


async def _operator_findings(client: Client) -> list[Finding]:
    try:
        webhook = await diagnose.check_webhook(client)
        troubled = await diagnose.diagnose_all(client)
    except ApiError as error:
        cure = "The operator has not started; `labsandbox logs` says why."
        return [Finding(False, f"KubeDirector is there ({error})", cure)]
    findings = [
        Finding(
            webhook.is_reachable,
            f"KubeDirector judges manifests at {webhook.url} ({webhook.detail})",
            "Without it no kdcluster is accepted: `labsandbox down`, then `labsandbox up`.",
        )
    ]
    if not troubled:
        findings.append(Finding(True, "every kdcluster is as it should be"))
    return findings + [_cluster_finding(facts) for facts in troubled]


def _cluster_finding(facts: diagnose.ClusterFacts) -> Finding:
    """Say what keeps a kdcluster, with the last words of its members and events."""
    said = list(facts.hints)
    for member in facts.members:
        tail = " ".join(filter(None, (member.problem, member.stderr or member.stdout)))
        said += [f"{member.pod}: {tail}"] if tail else []
    said += [f"{event.kind} {event.reason}: {event.message}" for event in facts.events[-3:]]
    what = f"kdcluster {facts.namespace}/{facts.name} is well ({facts.state}, {facts.ready} ready)"
    return Finding(False, what, os.linesep.join(said) or "It has only begun; look again.")


async def _clock(client: Client) -> Finding:
    async with client.session.get(f"{client.access.server}/version") as answer:
        from email.utils import parsedate_to_datetime

        date = answer.headers.get("Date")
        skew = abs(parsedate_to_datetime(date).timestamp() - time.time()) if date else 0.0
    return Finding(skew < _CLOCK_SECONDS, f"the clocks agree ({skew:.0f} s)", "Set the clock.")


def _pod_findings(pod: Object) -> list[Finding]:
    name = "/".join(_named(pod))
    found = []
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in (None, "ContainerCreating", "PodInitializing"):
            continue
        found.append(
            Finding(
                False,
                f"pod {name} runs ({waiting['reason']}: {waiting.get('message', '')})",
                f"kubectl describe pod -n {name.replace('/', ' ')}; kubectl logs --previous",
            )
        )
    return found
