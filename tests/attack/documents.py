"""Bodies that ask for much work: patches, YAML and JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.attack.definitions import FREE, make_crd
from tests.attack.neighbour import (
    APPLY,
    CRDS,
    JSON_PATCH,
    LIMIT,
    MAPS,
    SPACE,
    STRATEGIC,
    TOYS,
    YAML,
    Json,
    Request,
    as_json,
)


def make_config(name: str, **data: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **data}


def toy(name: str, **more: Any) -> Json:
    return {"apiVersion": "bomb.example/v1", "kind": "Toy", "metadata": {"name": name}, **more}


def make_map(name: str, **data: Any) -> Callable[[], Request]:
    return lambda: as_json("POST", MAPS, make_config(name, **data))


def make_toys() -> Request:
    return as_json("POST", CRDS, make_crd("toys", FREE))


def make_toy(name: str, **more: Any) -> Callable[[], Request]:
    return lambda: as_json("POST", TOYS, toy(name, **more))


def _doubling(steps: int) -> list[Json]:
    rows: list[Json] = [{"op": "add", "path": "/x", "value": {"k": "v" * 100}}]
    for step in range(steps):
        rows.append({"op": "copy", "from": "/x", "path": f"/x/k{step}"})
    return rows


def json_copy() -> Request:
    return as_json("PATCH", f"{MAPS}/target", _doubling(24), JSON_PATCH)


def json_move() -> Request:
    """Moves of something large: nothing grows, and yet each may be copied."""
    rows = []
    for number in range(9_998):
        here, there = ("a", "b") if number % 2 == 0 else ("b", "a")
        rows.append({"op": "move", "from": f"/{here}", "path": f"/{there}"})
    return as_json("PATCH", f"{TOYS}/large", rows, JSON_PATCH)


def json_insert() -> Request:
    rows = [{"op": "add", "path": "/a/0", "value": 1}] * 10_000
    return as_json("PATCH", f"{TOYS}/long", rows, JSON_PATCH)


def json_test() -> Request:
    rows = [{"op": "test", "path": "/a/299999", "value": 1}] * 10_000
    return as_json("PATCH", f"{TOYS}/long", rows, JSON_PATCH)


def strategic_lists() -> Request:
    """Every item of the patch is looked for among those of the object."""
    ports = [{"port": number + 1, "name": f"p{number}"} for number in range(9_000)]
    return as_json("PATCH", f"{SPACE}/services/target", {"spec": {"ports": ports}}, STRATEGIC)


def service(name: str = "target") -> Request:
    spec = {"ports": [{"port": 1}]}
    return as_json("POST", f"{SPACE}/services", {"metadata": {"name": name}, "spec": spec})


def strategic_owners() -> Request:
    owners = [
        {"apiVersion": "v1", "kind": "Pod", "name": f"p{number}", "uid": f"u{number}"}
        for number in range(20_000)
    ]
    patch = {"metadata": {"ownerReferences": owners}}
    return as_json("PATCH", f"{MAPS}/target", patch, STRATEGIC)


def apply_many_fields() -> Request:
    data = {f"key-{number}": "v" for number in range(60_000)}
    path = f"{MAPS}/applied?fieldManager=a&force=true"
    return as_json("PATCH", path, make_config("applied", data=data), APPLY)


def apply_long_list() -> Request:
    """A list keyed by name, whose items are found by their keys."""
    env = [{"name": f"N{number}", "value": "v"} for number in range(30_000)]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "applied"},
        "spec": {"containers": [{"name": "c", "image": "busybox", "env": env}]},
    }
    path = f"{SPACE}/pods/applied?fieldManager=a&force=true&dryRun=All"
    return as_json("PATCH", path, pod, APPLY)


def given_managers() -> Request:
    fields = {"f:data": {f"f:k{number}": {} for number in range(500)}}
    managers = [
        {
            "manager": f"m{number}",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2025-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        for number in range(300)
    ]
    obj = make_config("managed", data={"a": "b"})
    obj["metadata"]["managedFields"] = managers
    return as_json("PUT", f"{MAPS}/managed", obj)


def yaml_laughs() -> Request:
    lines = ["apiVersion: v1", "kind: ConfigMap", "metadata: {name: laughs}"]
    lines.append("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]")
    for number in range(1, 9):
        lines.append(f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]")
    return Request("POST", MAPS, "\n".join(lines).encode(), YAML)


def yaml_merges() -> Request:
    """Merge keys of merge keys, which double at each step."""
    lines = ["apiVersion: v1", "kind: ConfigMap", "metadata: {name: laughs}", "m0: &m0 {a: b}"]
    for number in range(1, 26):
        lines.append(f"m{number}: &m{number} {{<<: [*m{number - 1}, *m{number - 1}], k: v}}")
    return Request("POST", MAPS, "\n".join(lines).encode(), YAML)


def yaml_large() -> Request:
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: laughs}\ndata:\n"
    body += "".join(f"  k{number}: v\n" for number in range(200_000))
    return Request("POST", MAPS, body[:LIMIT].encode(), YAML)


def json_many_keys() -> Request:
    data = {f"k{number}": "v" for number in range(200_000)}
    return as_json("POST", MAPS, make_config("keys", data=data))


def json_unknown_keys() -> Request:
    more = {f"k{number}": "v" for number in range(150_000)}
    return as_json("POST", f"{MAPS}?fieldValidation=Strict", make_config("keys", **more))


def json_broken() -> Request:
    """Broken at its end only: the place of the error is looked for in the whole text."""
    body = b'{"apiVersion":"v1","kind":"ConfigMap","a":[' + b"1," * (LIMIT // 2 - 50) + b"x]}"
    return Request("POST", MAPS, body)


def json_deep() -> Request:
    return Request("POST", MAPS, b'{"a":' * 250_000 + b"1" + b"}" * 250_000)


def json_repeated_keys() -> Request:
    return Request("POST", MAPS, b"{" + b'"a":1,' * (LIMIT // 6 - 10) + b'"kind":"ConfigMap"}')
