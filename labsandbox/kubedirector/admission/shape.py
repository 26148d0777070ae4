"""Do spec and status have the form that the definition of their kind asks for?

A mutating webhook is asked before the API server looks at the schema, so anything may come: a spec
without its application, a list for a text. The judgements rely on the form; what lacks it is
refused here, in the words of the API server. Ranges and patterns are left to the schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain, islice
from typing import Any

from labsandbox.kubedirector.definition import load_crds
from labsandbox.kubedirector.model import Object

__all__ = ["faults"]

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
MOST = 10


def faults(kind: str, obj: Object, *parts: str) -> list[str]:
    """Return what in these parts of an object does not have the form of its kind; the first few.

    >>> faults("KubeDirectorCluster", {"spec": {"roles": {}}}, "spec")
    ['spec.app: Required value', 'spec.roles: must be an array; found an object']
    """
    schemas = _schemas().get(kind, {})
    found = (_look(schemas[part], obj.get(part), part) for part in parts if part in schemas)
    return list(islice(chain.from_iterable(found), MOST))


@cache
def _schemas() -> dict[str, dict[str, Object]]:
    found: dict[str, dict[str, Object]] = {}
    for crd in load_crds():
        (version,) = crd["spec"]["versions"]
        whole = version["schema"]["openAPIV3Schema"]
        found[crd["spec"]["names"]["kind"]] = {
            part: schema | {"nullable": part not in whole.get("required", [])}
            for part, schema in whole["properties"].items()
            if part in ("spec", "status")
        }
    return found


def _look(schema: Object, value: Any, path: str) -> Iterator[str]:
    if value is None:
        if not schema.get("nullable"):
            yield f"{path}: Required value"
        return
    wanted = schema.get("type")
    if wanted and not _is_a(value, wanted):
        yield f"{path}: must be {_article(wanted)}; found {_article(_name(value))}"
    elif schema.get("x-kubernetes-int-or-string") and not (
        _is_a(value, "integer") or _is_a(value, "string")
    ):
        yield f"{path}: must be an integer or a string; found {_article(_name(value))}"
    elif isinstance(value, dict):
        yield from _look_into(schema, value, path)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _look(schema.get("items") or {"nullable": True}, item, f"{path}[{number}]")


def _look_into(schema: Object, value: Object, path: str) -> Iterator[str]:
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    for name in schema.get("required") or []:
        if value.get(name) is None and not (
            name in value and properties.get(name, {}).get("nullable")
        ):
            yield f"{path}.{name}: Required value"
    for name, item in value.items():
        if name in properties:
            # A null is dropped by the API server, like a field that is not there.
            if item is not None:
                yield from _look(properties[name], item, f"{path}.{name}")
        elif isinstance(others, dict):
            yield from _look(others, item, f"{path}.{name}")


def _is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


def _name(value: Any) -> str:
    for name in TYPES:
        if _is_a(value, name):
            return name
    return "null"


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aio" else f"a {name}"
