"""YAML as the API server reads it: YAML 1.1 as go-yaml understands it, turned into JSON values."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
BOOL = re.compile(
    r"^(?:y|Y|yes|Yes|YES|on|On|ON|true|True|TRUE|n|N|no|No|NO|off|Off|OFF|false|False|FALSE)$"
)
INT = re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[1-9][0-9_]*|0)$")
FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
    r"|\.(?:nan|NaN|NAN))$"
)
# Where go-yaml stops, too.
MAX_DEPTH = 10_000
MAX_REPEATED = 20_000
"""Values that aliases may repeat. # differs: go-yaml allows a share of the document."""
TRUE = frozenset(("y", "yes", "on", "true"))


class YamlError(ValueError):
    """The text is not YAML, or not YAML that JSON can say; the message is go-yaml's."""


class _GoLoader(Loader):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        if isinstance(node, yaml.MappingNode):
            self.flatten_mapping(node)
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(self.construct_object(key_node, deep=True))
            if key in found:
                line = key_node.start_mark.line + 1
                self.duplicates.append(f'  line {line}: key "{key}" already set in map')
            found[key] = self.construct_object(value_node, deep=True)
        return found


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    raise YamlError(f"error converting YAML to JSON: unsupported map key of type: {type(value)}")


def _map(loader: _GoLoader, node: Any) -> Any:
    return loader.construct_mapping(node, deep=True)


def _bool(_: _GoLoader, node: Any) -> bool:
    return str(node.value).lower() in TRUE


def _int(_: _GoLoader, node: Any) -> int:
    text = node.value.replace("_", "")
    sign = -1 if text[0] == "-" else 1
    body = text.lstrip("+-")
    if body[:2] in ("0b", "0x", "0o"):
        return sign * int(body, 0)
    return sign * (int(body, 8) if len(body) > 1 and body[0] == "0" else int(body))


def _float(_: _GoLoader, node: Any) -> float:
    text = node.value.lower()
    if "inf" in text or "nan" in text:
        raise YamlError(f"error converting YAML to JSON: json: unsupported value: {node.value}")
    return float(text)


_GoLoader.add_constructor("tag:yaml.org,2002:map", _map)
_GoLoader.add_constructor("tag:yaml.org,2002:bool", _bool)
_GoLoader.add_constructor("tag:yaml.org,2002:int", _int)
_GoLoader.add_constructor("tag:yaml.org,2002:float", _float)
_GoLoader.add_implicit_resolver("tag:yaml.org,2002:bool", BOOL, list("yYnNtTfFoO"))
_GoLoader.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
_GoLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
_GoLoader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])
_GoLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)


def loads(raw: bytes) -> tuple[Any, list[str]]:
    """Parse the first document; the second value is the message about duplicate keys, if any."""
    text = raw.decode("utf-8", "replace")
    try:
        _check_depth(text)
        loader = _GoLoader(text)
        try:
            node = loader.get_single_node() if "\n---" not in text else _first(loader)
            if "*" in text and node is not None:
                _check_aliases(node)
            found = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise YamlError(_go_message(error)) from error
    except yaml.YAMLError as error:
        raise YamlError(f"yaml: {error}") from error
    except RecursionError as error:
        raise YamlError("yaml: exceeded max depth") from error
    except ValueError as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"yaml: {error}") from error
    if loader.duplicates:
        return found, ["yaml: unmarshal errors:\n" + "\n".join(loader.duplicates)]
    return found, []


def _check_depth(text: str) -> None:
    """Refuse what is nested too deep before libyaml composes it: it recurses in C and crashes."""
    if sum(text.count(mark) for mark in ("{", "[", "- ", "? ", "\n ")) <= MAX_DEPTH:
        return
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise YamlError("yaml: exceeded max depth")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _first(loader: Any) -> Any:
    return loader.get_node() if loader.check_node() else None


def _check_aliases(root: Any) -> None:
    """Refuse a document whose aliases repeat too much, before it is built.

    Each node is counted once, with the number of values it stands for: a document of 1 KB may
    stand for more than fits into memory.
    """
    sizes: dict[int, int] = {}
    total = 0
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, is_done = stack.pop()
        if not is_done and id(node) in sizes:
            continue
        inner = _inner(node)
        if is_done:
            sizes[id(node)] = 1 + sum(sizes.get(id(one), 0) for one in inner)
            continue
        total += 1
        sizes[id(node)] = 0  # a node inside itself; refused when it is built
        stack.append((node, True))
        stack += [(one, False) for one in inner]
    if sizes[id(root)] - total > MAX_REPEATED:
        raise YamlError("yaml: document contains excessive aliasing")


def _inner(node: Any) -> list[Any]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []


def _go_message(error: yaml.MarkedYAMLError) -> str:
    scanning = isinstance(error, yaml.scanner.ScannerError)
    line = error.context_mark.line if error.context_mark is not None else 0
    if line == 0 and error.problem_mark is not None:
        line = error.problem_mark.line
    if line and scanning:
        line += 1
    where = f"line {line}: " if line else ""
    return (
        f"yaml: {where}{error.problem or error.context or 'unknown problem parsing YAML content'}"
    )
