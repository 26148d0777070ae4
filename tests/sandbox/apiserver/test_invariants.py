"""Laws every operation keeps, tried with random writes, valid and nearly valid, on many kinds.

The seed is fixed; a failure names the operation. The long run is the nightly one.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.golden.differential.cases import read_cases
from tests.sandbox.apiserver.client import MERGE, Caller, Json
from tests.sandbox.conftest import ApiServer

pytestmark = pytest.mark.sandbox
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
PLAIN = "application/json"
ODD: list[Any] = [
    None, "", 0, -1, 1.5, True, "x", "y", 1, 3, [], {}, [None], [{}], {"a": None}, {"a": "b"},
    {"": 1}, "1Gi", "-5", "50%", 2**40, 99999999999999999999, [["a"]], {"a": {"b": [1]}},
    "2020-01-01T00:00:00Z",
]  # fmt: skip
SEEDS = range(100, 110)
WITH_STATUS = {
    "DaemonSet", "Deployment", "Ingress", "Job", "Node", "PersistentVolumeClaim",
    "HorizontalPodAutoscaler", "PodDisruptionBudget", "ReplicaSet", "ReplicationController",
    "ResourceQuota", "Service", "StatefulSet",
}  # fmt: skip
SCALED = {"Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"}
WRITTEN_TOGETHER = {"Node": "status"}
"""Kinds whose other half a write of the object may change: a Node is created with its status."""


def samples() -> dict[str, tuple[str, Json]]:
    """One valid object of every kind the recorded cases make, with the path it is posted to."""
    found: dict[str, tuple[str, Json]] = {}
    for case in read_cases():
        for step in case.setup:
            body = step.get("body")
            if step["method"] == "POST" and isinstance(body, dict):
                found.setdefault(body["kind"], (step["path"], body))
    return {kind: row for kind, row in found.items() if kind not in ("Namespace", "Widget")}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a document."""
    rows = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in rows:
        yield (*above, key)
        if isinstance(below, dict | list):
            yield from places(below, (*above, key))


def put(document: Json, place: tuple[Any, ...], value: Any) -> None:
    target: Any = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value


def nested(place: tuple[Any, ...], value: Any) -> Any:
    for key in reversed(place):
        value = [value] if isinstance(key, int) else {key: value}
    return value


class Random:
    """Random writes of the samples, and what has to hold after each."""

    def __init__(self, call: Caller, seed: int) -> None:
        self.call = call
        self.random = random.Random(seed)
        self.samples = samples()
        self.newest = self.listed("ConfigMap")[0]
        self.start = {kind: self.listed(kind) for kind in self.samples}
        self.written = 0
        self.refused = 0

    def listed(self, kind: str) -> tuple[int, dict[str, Json]]:
        """The resource version of a list, and its objects by name."""
        status, body = self.call("GET", self.samples[kind][0])
        assert status == 200
        kind_of = {"apiVersion": body["apiVersion"], "kind": kind}
        rows = {row["metadata"]["name"]: {**kind_of, **row} for row in body["items"]}
        return int(body["metadata"]["resourceVersion"]), rows

    def step(self) -> None:
        kind = self.random.choice(sorted(self.samples))
        path, sample = self.samples[kind]
        name = self.random.choice(("first", "second"))
        where = f"{path}/{name}"
        if self.random.random() < 0.1:
            self.call("DELETE", where)
        if self.random.random() < 0.5:
            self.call("POST", path, self.named(sample, name))
        status, before = self.call("GET", where)
        method, target, body, media = self.operation(
            kind, path, name, before if status == 200 else self.named(sample, name)
        )
        said = f"{method} {target} {media} {json.dumps(body)}"
        mark = "&" if "?" in target else "?"
        tried = self.call(method, f"{target}{mark}dryRun=All", body, media)
        assert self.call("GET", where) == (status, before), f"a dry run changed: {said}"
        answer = self.call(method, target, body, media)
        assert answer[0] < 500 or "bug" not in answer[1].get("message", ""), f"{said}: {answer}"
        after = self.call("GET", where)
        if answer[0] >= 300:
            self.refused += 1
            assert after == (status, before), f"refused, and yet changed: {said}"
            return
        self.written += 1
        assert tried[0] == answer[0], f"a dry run was answered otherwise: {said}: {tried}"
        if after[0] == 404 and "deletionTimestamp" in answer[1]["metadata"]:
            return
        if not target.split("?")[0].endswith("/scale"):
            assert after == (200, answer[1]), f"read otherwise than answered: {said}"
        self.versions(before if status == 200 else None, after[1], said)
        if status == 200 and kind in WITH_STATUS:
            self.apart(kind, target, before, after[1], said)
        # A list applied empty is stored as none, so the second time it changes something again.
        alone = media == APPLY and not any(word in said for word in ('"resourceVersion"', "[]"))
        if alone and after[1]["metadata"].get("managedFields"):
            again = self.call(method, target, body, media)
            assert again == (200, answer[1]), f"applied twice: {said}: {again}"

    def named(self, sample: Json, name: str) -> Json:
        found = copy.deepcopy(sample)
        found["metadata"]["name"] = name
        return found

    def operation(self, kind: str, path: str, name: str, live: Json) -> tuple[str, str, Any, str]:
        choose = self.random.choice
        how = choose(("post", "put", "merge", "strategic", "json", "apply"))
        parts = ["", ""] + ["/status"] * (kind in WITH_STATUS) + ["/scale"] * (kind in SCALED)
        below = choose(parts) if how != "post" else ""
        # Who takes fields out of the lists of owners breaks later applies, on a real server too.
        known = [place for place in places(live) if "managedFields" not in place]
        where, place = f"{path}/{name}{below}", choose(known)
        value = self.value_for(live, place)
        if how in ("post", "put"):
            whole = copy.deepcopy(live)
            put(whole, place, value)
            if isinstance(whole["metadata"], dict):
                whole["metadata"]["name"] = name
            return ("POST", path, whole, PLAIN) if how == "post" else ("PUT", where, whole, PLAIN)
        if how == "json":
            pointer = "/" + "/".join(str(p).replace("~", "~0").replace("/", "~1") for p in place)
            verb = choose(("add", "remove", "replace", "test", "copy", "move"))
            row = {"op": verb, "path": pointer, "from": "/metadata/name", "value": value}
            return "PATCH", where, [row], JSON_PATCH
        change = nested(place, value)
        if how == "apply":
            change |= {"apiVersion": live["apiVersion"], "kind": live["kind"]}
            if below == "/scale":
                change = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 2}}
            force = choose(("", "&force=true"))
            return "PATCH", f"{where}?fieldManager=laws{force}", change, APPLY
        return "PATCH", where, change, MERGE if how == "merge" else STRATEGIC

    def value_for(self, live: Json, place: tuple[Any, ...]) -> Any:
        """Often a value like the one that is there, else an odd one."""
        now: Any = live
        for key in place:
            now = now[key]
        like = [value for value in (*ODD, now) if type(value) is type(now)]
        return copy.deepcopy(self.random.choice(like if self.random.random() < 0.7 else ODD))

    def versions(self, before: Json | None, after: Json, said: str) -> None:
        version = int(after["metadata"]["resourceVersion"])
        if before is not None and before["metadata"]["resourceVersion"] == str(version):
            assert before == after, f"changed under one resource version: {said}"
            return
        assert version > self.newest, f"resource version went back: {said}"
        self.newest = version

    def apart(self, kind: str, target: str, before: Json, after: Json, said: str) -> None:
        if before["metadata"]["uid"] != after["metadata"]["uid"]:
            return
        other = "spec" if target.split("?")[0].endswith("/status") else "status"
        if WRITTEN_TOGETHER.get(kind) != other:
            assert before.get(other) == after.get(other), f"{other} changed: {said}"

    def follow(self, kind: str, server: ApiServer) -> dict[str, Json] | None:
        """The objects the events since the start leave; None when the start was compacted.

        A run of more than five minutes, on a busy machine, is longer than the history.
        """
        start, found = self.start[kind]
        query = f"watch=1&timeoutSeconds=1&resourceVersion={start}"
        status, _, raw = Caller(server).raw("GET", f"{self.samples[kind][0]}?{query}")
        assert status == 200
        newest = start
        for line in raw.splitlines():
            event = json.loads(line)
            if event["type"] == "ERROR":
                assert event["object"]["code"] == 410, event
                return None
            row, name = event["object"], event["object"]["metadata"]["name"]
            version = int(row["metadata"]["resourceVersion"])
            assert version > newest, f"events of {kind} are out of order"
            newest = version
            assert (event["type"] == "ADDED") == (name not in found), (
                f"{kind} {name}: {raw.decode()}"
            )
            if event["type"] == "DELETED":
                del found[name]
            else:
                found[name] = row
        return found


def run(server: ApiServer, seed: int, steps: int) -> None:
    call = Caller(server)
    for kind, name, path in (
        ("Namespace", "dz", "/api/v1/namespaces"),
        ("ServiceAccount", "default", "/api/v1/namespaces/dz/serviceaccounts"),
    ):
        call("POST", path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
    laws = Random(call, seed)
    for _ in range(steps):
        laws.step()
    assert laws.written > steps / 8
    assert laws.refused > steps / 8
    with ThreadPoolExecutor(len(laws.samples)) as pool:
        followed = pool.map(lambda kind: laws.follow(kind, server), laws.samples)
    for kind, events in zip(laws.samples, followed, strict=True):
        assert events in (None, laws.listed(kind)[1]), kind
    call.close()
    print(
        f"seed {seed}: {steps} operations on {len(laws.samples)} kinds, {laws.written} written, "
        f"{laws.refused} refused, all by the laws"
    )


def test_random_writes_keep_the_laws(fresh_apiserver: ApiServer) -> None:
    run(fresh_apiserver, seed=1, steps=400)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", SEEDS)
def test_many_random_writes_keep_the_laws(fresh_apiserver: ApiServer, seed: int) -> None:
    run(fresh_apiserver, seed, steps=2000)
