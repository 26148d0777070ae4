"""Reading the object a client sent: JSON, YAML or protobuf, with everything that can be wrong."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver import work
from labsandbox.apiserver.http.media import JSON, PROTOBUF, SUPPORTED, media_type
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.kinds import Shape, builtin_shape
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.schema import DecodeError, JsonError, YamlError
from labsandbox.apiserver.schema import json as schema_json
from labsandbox.apiserver.schema import yaml as schema_yaml
from labsandbox.apiserver.status import bad_request, unsupported_media_type

Json = dict[str, Any]
YAML_WEIGHT = 8
"""How much longer a byte of YAML takes to read than one of JSON."""
_SCHEME = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"


def parse(raw: bytes, media: str) -> tuple[Any, list[str]]:
    """Parse by media type: the value and messages about duplicate keys."""
    if media == JSON:
        return schema_json.loads(raw)
    return schema_yaml.loads(raw)


async def read_value(request: Request, kind: str) -> tuple[Any, list[str]]:
    """The parsed body of a request that must carry an object of `kind`."""
    media = media_type(request.headers.get("content-type", ""))
    if media not in SUPPORTED:
        raise unsupported_media_type(SUPPORTED)
    raw = await request.body()
    if media == PROTOBUF:
        return await work.run(_read_protobuf, raw, kind), []
    try:
        if media != JSON:
            work.add(YAML_WEIGHT * len(raw))
        value, duplicates = await work.run(parse, raw, media)
    except JsonError as error:
        raise _unrecognized(
            kind, f"couldn't get version/kind; json parse error: {error}", raw
        ) from None
    except YamlError as error:
        raise _unrecognized(kind, str(error), raw) from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        found = "array" if isinstance(value, list) else _go_kind(value)
        raise _unrecognized(
            kind,
            "couldn't get version/kind; json parse error: json: cannot unmarshal "
            f"{found} into Go value of type struct "
            '{ APIVersion string "json:\\"apiVersion,omitempty\\""; '
            'Kind string "json:\\"kind,omitempty\\"" }',
            raw,
        ) from None
    for key in ("apiVersion", "kind"):
        if value.get(key) is not None and not isinstance(value[key], str):
            raise _unrecognized(
                kind,
                "couldn't get version/kind; json parse error: json: cannot unmarshal "
                f"{_go_kind(value[key])} into Go struct field .{key} of type string",
                raw,
            ) from None
    return value, duplicates


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _read_protobuf(raw: bytes, kind: str) -> Json:
    from labsandbox.apiserver import protobuf

    try:
        found: Json = protobuf.decode(raw)
    except ValueError as error:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): {error}"
        ) from None
    return found


def _unrecognized(kind: str, why: str, raw: bytes) -> Exception:
    return bad_request(
        f"the object provided is unrecognized (must be of type {kind}): {why} ({summary(raw)})"
    )


def summary(raw: bytes) -> str:
    """The beginning of a body as messages show it: text if it looks like JSON, else hex."""
    if not raw:
        return "<empty>"
    shown = raw[:30]
    more = " ..." if len(raw) > 30 else ""
    if raw.lstrip()[:1] == b"{":
        return shown.decode("utf-8", "replace") + more
    return shown.hex() + more


def check_kind(
    value: Json, resource: ResourceDef, kind: str, group: str, version: str, warnings: list[str]
) -> None:
    """Refuse an object of another kind than the path is about."""
    given_kind = value.get("kind") or ""
    given_version = value.get("apiVersion") or ""
    if resource.custom is not None and kind == resource.kind:
        _check_custom(given_kind, given_version, resource, value, warnings)
        return
    expected = f"{group}/{version}" if group else version
    if (given_kind in ("", kind)) and given_version in ("", expected):
        return
    prefix, slash, bare = given_version.rpartition("/")
    given_group = prefix if slash else ""
    shown_version = bare or version
    if resource.custom is not None:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): no kind {given_kind!r}"
        )
    named = given_kind or kind
    head = f'{named} in version "{shown_version}" cannot be handled as a {kind}: '
    known = _known(given_group, shown_version, named)
    if known:
        target = "core" if not group else group.split(".")[0]
        source = shown_version
        raise bad_request(
            f"{head}converting ({source}.{named}) to ({target}.{kind}): unknown conversion"
        )
    where = given_version or expected
    raise bad_request(
        f'{head}no kind "{named}" is registered for version "{where}" in scheme "{_SCHEME}"'
    )


def _check_named(value: Json, raw: bytes, kind: str) -> None:
    """A custom object must say what it is; a built-in one may leave it to the path."""
    for key, shown in (("kind", "Kind"), ("apiVersion", "apiVersion")):
        if not value.get(key):
            text = raw.decode("utf-8", "replace")
            raise _unrecognized(kind, f"Object '{shown}' is missing in '{text}'", raw)


def _check_custom(
    kind: str, version: str, resource: ResourceDef, value: Json, warnings: list[str]
) -> None:
    """Another kind is a matter of validation, another version is not."""
    if kind and version and version != resource.api_version:
        # Nothing is known about that version, so every field of it is unknown.
        known = ("apiVersion", "kind", "metadata")
        warnings += [f'unknown field "{field}"' for field in value if field not in known]
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({resource.api_version})"
        )


def _known(group: str, version: str, kind: str) -> bool:
    return builtin_shape(group, version, kind) is not None


def decode(
    request: Request,
    value: Json,
    duplicates: list[str],
    shape: Shape,
    kind: str,
    validation: str,
    raw: bytes,
) -> Json:
    """Read the value as its kind; unknown and repeated fields are told as fieldValidation says."""
    version = (value.get("apiVersion") or request.version).rpartition("/")[2]
    head = f'{kind} in version "{version}" cannot be handled as a {kind}: '
    try:
        obj, unknown = shape.decode(value)
    except DecodeError as error:
        raise bad_request(f"{head}{error}") from None
    if validation != "Ignore":
        messages = list(dict.fromkeys([*duplicates, *unknown]))
        if duplicates and unknown:
            messages = schema_json.in_order(raw, messages)
        if messages and validation == "Strict":
            raise bad_request(f"{head}strict decoding error: {', '.join(messages)}")
        request.warnings += messages
    return obj


async def read_object(
    request: Request,
    resource: ResourceDef,
    shape: Shape,
    validation: str,
    *,
    kind: str = "",
    group: str | None = None,
    version: str = "",
) -> Json:
    """Read, check and decode the object of a create or update."""
    kind = kind or resource.kind
    value, duplicates = await read_value(request, kind)
    raw = await request.body()
    if resource.custom is not None and kind == resource.kind:
        _check_named(value, raw, kind)
    check_kind(
        value, resource, kind, resource.group if group is None else group,
        version or resource.version, request.warnings,
    )  # fmt: skip
    return await work.run(decode, request, value, duplicates, shape, kind, validation, raw)
