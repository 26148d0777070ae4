"""Compute a container's environment and command line from its pod: pure functions."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from labsandbox import quantity

Object = dict[str, Any]
Find = Callable[[str, str], Object | None]  # (kind, name) -> object of the pod's namespace

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")
# What the kernel takes as a program's environment is about twice as much.
MOST_BYTES = 1 << 20
_KINDS = {"configMap": "ConfigMap", "secret": "Secret"}
_MOST_MEMORY = Decimal(1 << 62)  # An amount may have a million digits.


class ConfigError(Exception):
    """Something the pod refers to is not there; kubectl shows CreateContainerConfigError."""


class Budget:
    """How much text may still be made: a reference to a reference doubles with each step."""

    def __init__(self, what: str, size: int = MOST_BYTES) -> None:
        self.what, self.left = what, size

    def spend(self, size: int) -> None:
        """Take note of some text; raise ConfigError when it is more than was left."""
        self.left -= size
        if self.left < 0:
            raise ConfigError(
                f"{self.what} is larger than {MOST_BYTES >> 20} MB with all $(NAME) replaced; "
                "shorten the values"
            )


def memory_limit(container: Object) -> int | None:
    """Return a container's memory limit in bytes."""
    limits = (container.get("resources") or {}).get("limits") or {}
    if "memory" not in limits:
        return None
    return int(min(quantity.amount(limits["memory"]), _MOST_MEMORY))


def expand(text: str, values: dict[str, str], budget: Budget | None = None) -> str:
    """Replace $(NAME) by its value; $$ is a dollar sign, unknown names stay as they are."""
    bound = budget or Budget("the text")

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        value = values.get(match[1], match[0])
        bound.spend(len(value))
        return value

    return _REFERENCE.sub(one, text)


def command_line(
    container: Object, entrypoint: Iterable[str], arguments: Iterable[str], env: dict[str, str]
) -> list[str]:
    """Return argv: the pod's command and args win over the image's as in Kubernetes."""
    command, args = container.get("command"), container.get("args")
    if command:
        words = [*command, *(args or [])]
    elif args:
        words = [*entrypoint, *args]
    else:
        return [*entrypoint, *arguments]
    budget = Budget("the command line")
    return [expand(word, env, budget) for word in words]


def build(
    pod: Object, container: Object, base: dict[str, str], find: Find, allocatable: dict[str, str]
) -> dict[str, str]:
    """Return the environment: base, then envFrom, then env, each able to refer to what is above."""
    values = dict(base)
    budget = Budget("the environment")
    budget.spend(sum(len(name) + len(value) for name, value in base.items()))
    for source in container.get("envFrom") or []:
        found = _from_source(source, find)
        budget.spend(sum(len(name) + len(value) for name, value in found.items()))
        values |= found
    for entry in container.get("env") or []:
        value = _value(entry, pod, container, values, find, allocatable, budget)
        if value is not None:
            budget.spend(len(entry["name"]) + len(value))
            values[entry["name"]] = value
    return values


def _from_source(source: Object, find: Find) -> dict[str, str]:
    for word, kind in _KINDS.items():
        reference = source.get(word + "Ref")
        if reference is None:
            continue
        found = find(kind, reference["name"])
        if found is None:
            if reference.get("optional"):
                return {}
            raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
        prefix = source.get("prefix", "")
        items = {prefix + key: value for key, value in texts(found).items()}
        return {key: value for key, value in items.items() if _NAME.match(key)}
    return {}


def texts(obj: Object) -> dict[str, str]:
    """Return the text of a ConfigMap's or Secret's keys."""
    return {key: value.decode(errors="replace") for key, value in contents(obj).items()}


def text_of(obj: Object, key: str) -> str | None:
    """Return the text of one key of a ConfigMap or Secret; None when it is not there."""
    for word in ("data", "binaryData"):
        if key in (obj.get(word) or {}):
            part = {"kind": obj.get("kind"), word: {key: obj[word][key]}}
            return texts(part)[key]
    return None


def contents(obj: Object) -> dict[str, bytes]:
    """Return the bytes of a ConfigMap's or Secret's keys."""
    if obj.get("kind") == "Secret":
        return {key: base64.b64decode(text) for key, text in (obj.get("data") or {}).items()}
    plain = {key: text.encode() for key, text in (obj.get("data") or {}).items()}
    binary = {key: base64.b64decode(text) for key, text in (obj.get("binaryData") or {}).items()}
    return plain | binary


def _value(
    entry: Object,
    pod: Object,
    container: Object,
    values: dict[str, str],
    find: Find,
    allocatable: dict[str, str],
    budget: Budget,
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value", ""), values, budget)
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_field(pod, container, source["resourceFieldRef"], allocatable)
    for word, kind in _KINDS.items():
        reference = source.get(word + "KeyRef")
        if reference is None:
            continue
        found = find(kind, reference["name"])
        text = text_of(found, reference["key"]) if found is not None else None
        if text is not None:
            return text
        if reference.get("optional"):
            return None
        if found is None:
            raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
        namespace = pod["metadata"]["namespace"]
        raise ConfigError(
            f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}"
        )
    return None


def field(pod: Object, path: str) -> str:
    """Return a field of the pod as the downward API gives it."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    keyed = re.match(r"metadata\.(labels|annotations)\['(.+)'\]\Z", path)
    if keyed:
        return str((meta.get(keyed[1]) or {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = sorted((meta.get(path.partition(".")[2]) or {}).items())
        return "\n".join(f'{key}="{_escape(value)}"' for key, value in pairs)
    if path in ("status.podIPs", "status.hostIPs"):
        return ",".join(entry["ip"] for entry in status.get(path.partition(".")[2]) or [])
    part, _, name = path.partition(".")
    return str({"metadata": meta, "spec": spec, "status": status}.get(part, {}).get(name, ""))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(
    pod: Object, container: Object, reference: Object, allocatable: dict[str, str]
) -> str:
    """Return a request or limit in units of the divisor; without a limit the node's capacity."""
    name = reference.get("containerName")
    if name and name != container.get("name"):
        container = next((c for c in pod["spec"]["containers"] if c["name"] == name), container)
    kind, _, resource = reference["resource"].partition(".")
    value = ((container.get("resources") or {}).get(kind) or {}).get(resource)
    if value is None and kind == "limits":
        value = allocatable.get(resource)
    divisor = quantity.amount(reference.get("divisor") or "1") or Decimal(1)
    return quantity.divide(quantity.amount(value or "0"), divisor)


def service_links(services: Iterable[Object]) -> dict[str, str]:
    """Return the variables that name the services of a namespace, as Docker links once did."""
    values: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP")
        ports = service["spec"].get("ports") or []
        if not address or address == "None" or not ports:
            continue
        word = service["metadata"]["name"].upper().replace("-", "_")
        values |= {f"{word}_SERVICE_HOST": address, f"{word}_SERVICE_PORT": str(ports[0]["port"])}
        for port in ports:
            protocol = port.get("protocol", "TCP")
            if port.get("name"):
                name = port["name"].upper().replace("-", "_")
                values[f"{word}_SERVICE_PORT_{name}"] = str(port["port"])
            url = f"{protocol.lower()}://{address}:{port['port']}"
            values.setdefault(f"{word}_PORT", url)
            prefix = f"{word}_PORT_{port['port']}_{protocol}"
            values |= {
                prefix: url,
                f"{prefix}_PROTO": protocol.lower(),
                f"{prefix}_PORT": str(port["port"]),
                f"{prefix}_ADDR": address,
            }
    return values
