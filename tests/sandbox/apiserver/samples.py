"""Made-up objects of every kind: of the right types, with values a validation trips over."""

from __future__ import annotations

from random import Random
from typing import Any

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.node import Node

WORDS = ("", "a", "A_b", "x" * 70, "x" * 300, "1", "-1", "Always", "TCP", "/a/../b", "*",
         "10.0.0.1", "::1", "a.b/c", "true", "Pod", "ClusterIP", "storage", "cpu",
         "RollingUpdate", "10%", "apps/v1", "In", "Exists", "None", "é\n", "http://x",
         "*.a.b", "0 0 * * *", "object.x", "requests.cpu", "Equal", "NoSchedule")  # fmt: skip
LEAVES: dict[str, tuple[Any, ...]] = {
    types.STRING: WORDS,
    types.BOOL: (True, False),
    types.INT: (0, 1, -1, 5, 80, 70000, 2**31 - 1),
    types.FLOAT: (1.5,),
    types.BYTES: ("", "YQ=="),
    types.TIME: ("2024-01-01T00:00:00Z",),
    types.MICRO_TIME: ("2024-01-01T00:00:00.500000Z",),
    types.QUANTITY: ("1", "-1", "1Gi", "0", 1, 1.5, "100m", "999999999999Ei", "1e3"),
    types.INT_OR_STRING: (1, "1", "10%", "abc", -5),
    types.DURATION: ("1s", "5m"),
    types.ANY: ({}, {"a": 1}),
}


def value(random: Random, node: Node | None, depth: int = 0) -> Any:
    """A value of a type; the deeper, the fewer fields."""
    if node is None:
        return random.choice(WORDS)
    if node.kind == types.STRUCT:
        share = 0.9 if depth < 1 else 0.35 if depth < 4 else 0.25
        return {
            name: value(random, field.node, depth + 1)
            for name, field in node.fields.items()
            if depth < 9 and random.random() < share
        }
    if node.kind == types.LIST:
        count = random.choice((0, 1, 1, 2, 3))
        return [value(random, node.element, depth + 1) for _ in range(count)]
    if node.kind == types.MAP:
        names = random.sample(WORDS, random.choice((0, 1, 2)))
        return {name: value(random, node.element, depth + 1) for name in names}
    return random.choice(LEAVES[node.kind])


def made_up(random: Random, resource: ResourceDef, node: Node) -> dict[str, Any]:
    """An object of a kind."""
    obj: dict[str, Any] = value(random, node)
    group = f"{resource.group}/" if resource.group else ""
    obj.update(apiVersion=f"{group}{resource.version}", kind=resource.kind)
    metadata = obj.setdefault("metadata", {})
    metadata["name"] = random.choice(("a", "B", "x" * 300))
    if resource.namespaced:
        metadata["namespace"] = "ns"
    return obj
