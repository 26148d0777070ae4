"""Tenants × ways × doors × tricks: choose among them, play them, look at what came of each."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import yaml

from labsandbox.client import ApiError, Client
from labsandbox.client.kubeconfig import Access, load
from labsandbox.client.resources import DEPLOYMENTS, EVENTS, PODS, SERVICEACCOUNTS
from tests.attack.arena import Arena, Count, Tenant, is_settled
from tests.attack.doors import DOORS
from tests.attack.tricks import Trick, of_file
from tests.attack.ways import LABEL, WAYS, Refused, Way, named, remove

Object = dict[str, Any]
BATCH, AT_ONCE = 10, 16
_SECONDS = 200.0
_REFUSED = (400, 401, 403, 404, 409, 422)


@dataclass(frozen=True)
class Case:
    """One try: a door, a trick at it, and the file it is after."""

    door: str
    trick: Trick
    target: str

    def pod(self, name: str) -> Object:
        return DOORS[self.door](name, self.trick)

    def __str__(self) -> str:
        return f"{self.door}, {self.trick.name}, {self.target}"


def cases(targets: Iterable[str], seed: str, limit: int) -> list[Case]:
    """Return cases by chance; all doors come before one comes again, and so do all tricks."""
    chance = random.Random(seed)
    by_door: dict[str, Iterator[Case]] = {}
    for door in DOORS:
        rows = [Case(door, trick, target) for target in targets for trick in of_file(target)]
        chance.shuffle(rows)
        # Stable: of each trick its first one, then its second one.
        turns: dict[str, Iterator[int]] = {row.trick.name: itertools.count() for row in rows}
        rows.sort(key=lambda row, turns=turns: next(turns[row.trick.name]))  # type: ignore[misc]
        by_door[door] = iter(rows)
    doors = list(by_door)
    chance.shuffle(doors)
    found: list[Case] = []
    while len(found) < limit and by_door:
        for door in [one for one in doors if one in by_door]:
            try:
                found.append(next(by_door[door]))
            except StopIteration:
                del by_door[door]
    return found[:limit]


# As a tenant in its own namespace: everything is accepted, and nothing comes of it.


def play(arena: Arena, user: str, way: str, chosen: list[Case]) -> Count:
    """Ask for pods in a way; return what could be read in them and what changed outside."""
    count, tenant = Count(f"{way}, {user}"), arena.tenants[user]
    arena.counts.append(count)
    secrets = arena.known([*arena.targets(tenant), *{case.target for case in chosen}])
    size = len(chosen) if WAYS[way].is_slow else BATCH
    for start in range(0, len(chosen), size):
        before = arena.snapshot()
        rows = {arena.name("m"): case for case in chosen[start : start + size]}
        shown = arena.run(_play_all(tenant, WAYS[way], {n: c.pod(n) for n, c in rows.items()}))
        for name, case in rows.items():
            count.add(str(case), any(secret in shown[name] for secret in secrets))
        count.successes += arena.changes(before)
    return count


async def _play_all(tenant: Tenant, way: Way, pods: dict[str, Object]) -> dict[str, str]:
    shown = await asyncio.gather(*(_play_one(tenant, way, pod) for pod in pods.values()))
    return dict(zip(pods, shown, strict=True))


async def _play_one(tenant: Tenant, way: Way, pod: Object) -> str:
    client, namespace = tenant.client, tenant.namespace
    try:
        if way.prepare:
            await way.prepare(tenant, namespace, pod)
        await way.send(tenant, namespace, pod)
        return await _shown(client, namespace, pod)
    except Refused as refusal:
        return f"refused: {refusal}"
    except ApiError as error:
        if error.status not in _REFUSED:
            raise
        return f"refused: {error}"
    finally:
        with contextlib.suppress(ApiError):  # what was refused is not there
            await remove(client, way, namespace, pod)


async def _shown(client: Client, namespace: str, pod: Object) -> str:
    """Return the log, status and events of a pod that runs, or cannot run, and of its maker."""
    name, texts = named(pod), []
    async with asyncio.timeout(_SECONDS):
        while True:
            made = await client.list(EVENTS, namespace, fields=f"involvedObject.name={name}")
            found = await client.list(PODS, namespace, labels=f"{LABEL}={name}")
            if found:
                one = found[-1]
                about = f"involvedObject.name={one['metadata']['name']}"
                told = await client.list(EVENTS, namespace, fields=about)
                if any(event["reason"] == "FailedMount" for event in told) or is_settled(
                    one.get("status") or {}
                ):
                    break
            elif any(event["reason"] == "FailedCreate" for event in made):
                return json.dumps(made)
            await asyncio.sleep(0.2)
    texts += [json.dumps(one["status"]), json.dumps([*made, *told])]
    for container in [*one["spec"].get("initContainers", []), *one["spec"]["containers"]]:
        path = PODS.path(namespace, one["metadata"]["name"], "log")
        with contextlib.suppress(ApiError):
            params = {"container": container["name"]}
            texts.append(str(await client.request("GET", path, params=params)))
    return "\n".join(texts)


# As somebody who may not: nothing is even accepted.


def stranger(arena: Arena, name: str) -> tuple[Tenant, Tenant]:
    """Return somebody without a right in a namespace, and whose namespace it is."""
    student, other, learner = arena.tenants.values()
    if name == "other tenant":
        return student, other
    if name == "class learner":
        return learner, student
    tokens: dict[str, Callable[[], str]] = {
        "nobody": lambda: "",
        "a pod's account": lambda: _pod_token(arena, student),
        "an ended session": lambda: arena.ended_token(other.user),
    }
    return _with_token(arena, student, tokens[name]()), student


def _with_token(arena: Arena, like: Tenant, token: str) -> Tenant:
    """Return somebody who shows this token and nothing else."""
    config = yaml.safe_load(like.config.read_text())
    config["users"] = [{"name": one["name"], "user": {"token": token}} for one in config["users"]]
    file = like.config.parent / f"{arena.name('token')}.conf"
    file.write_text(yaml.safe_dump(config))
    access: Access = replace(load(file), token=token or None)
    return Tenant(f"token of {like.user}", like.namespace, Client(access), file)


def _pod_token(arena: Arena, tenant: Tenant) -> str:
    async def token() -> str:
        async with Client.from_kubeconfig(arena.state / "admin.conf") as client:
            kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
            path = SERVICEACCOUNTS.path(tenant.namespace, "default", "token")
            return str((await client.request("POST", path, json=kind))["status"]["token"])

    return arena.run(token())


def knock(arena: Arena, name: str, way: str, chosen: list[Case]) -> Count:
    """Send what nobody may send; a request that is answered with anything but a no succeeds."""
    count = Count(f"{way}, {name}")
    arena.counts.append(count)
    attacker, victim = stranger(arena, name)
    arena.run(ask(arena, count, WAYS[way], attacker, victim, chosen))
    if attacker not in arena.tenants.values():
        arena.run(attacker.client.close())
    return count


async def ask(
    arena: Arena, count: Count, way: Way, attacker: Tenant, victim: Tenant, chosen: list[Case]
) -> None:
    """Ask for a victim's pods as an attacker, and look at what the victim has afterwards."""
    name, turn = arena.name("kept"), asyncio.Semaphore(AT_ONCE)
    kept = None
    if way.prepare:
        await way.prepare(victim, victim.namespace, chosen[0].pod(name))
        kept = (await victim.client.get(DEPLOYMENTS, name, victim.namespace))["spec"]

    async def one(case: Case) -> None:
        async with turn:
            try:
                await way.send(attacker, victim.namespace, case.pod(name))
            except Refused:
                count.add(str(case), False)
            except ApiError as error:
                count.add(f"{case}: {error}", error.status not in (401, 403))
            else:
                count.add(str(case), True)

    await asyncio.gather(*(one(case) for case in chosen))
    pods = await victim.client.list(PODS, victim.namespace, labels=f"{LABEL}={name}")
    count.successes += [pod["metadata"]["name"] for pod in pods]
    if kept:
        after = (await victim.client.get(DEPLOYMENTS, name, victim.namespace))["spec"]
        count.successes += [] if after == kept else ["changed"]
        await victim.client.delete(DEPLOYMENTS, name, victim.namespace)
