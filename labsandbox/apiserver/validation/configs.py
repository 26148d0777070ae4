"""ConfigMaps, Secrets, ServiceAccounts."""

from __future__ import annotations

import base64
from typing import Any

from labsandbox.apiserver.schema.scanner import explain
from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    forbidden,
    invalid,
    required,
    too_long,
)
from labsandbox.apiserver.validation.meta import IMMUTABLE, check_all

Json = dict[str, Any]
MAX_SIZE = 1024 * 1024
FROZEN = "field is immutable when `immutable` is set"
ACCOUNT = "kubernetes.io/service-account.name"


def config_map(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        found += check_all(f"data[{key}]", key, names.config_key(key))
        if key in binary:
            found.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value) if value.isascii() else len(value.encode())
    for key, value in binary.items():
        found += check_all(f"binaryData[{key}]", key, names.config_key(key))
        size += decoded_size(value)
    if size > MAX_SIZE:
        found.append(too_long("[]", MAX_SIZE))
    return found


def decoded_size(text: str | None) -> int:
    if text is None:  # a null is an empty value of the map
        return 0
    return len(text) * 3 // 4 - text[-2:].count("=")


def _frozen(new: Json, old: Json, fields: tuple[str, ...]) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    found = [] if new.get("immutable") else [forbidden("immutable", FROZEN)]
    for name in fields:
        if (new.get(name) or {}) != (old.get(name) or {}):
            found.append(forbidden(name, FROZEN))
    return found


def config_map_update(new: Json, old: Json) -> list[FieldError]:
    return _frozen(new, old, ("data", "binaryData"))


def secret(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    data = obj.get("data") or {}
    size = 0
    for key, value in data.items():
        found += check_all(f"data[{key}]", key, names.config_key(key))
        size += decoded_size(value)
    if size > MAX_SIZE:
        found.append(too_long("data", MAX_SIZE))
    kind = obj.get("type", "")
    metadata = obj.get("metadata") or {}
    if kind == "kubernetes.io/service-account-token":
        if not (metadata.get("annotations") or {}).get(ACCOUNT):
            found.append(required(f"metadata.annotations[{ACCOUNT}]"))
    elif kind == "kubernetes.io/dockercfg":
        found += _json(data, ".dockercfg")
    elif kind == "kubernetes.io/dockerconfigjson":
        found += _json(data, ".dockerconfigjson")
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            found += [required("data[username]"), required("data[password]")]
    elif kind == "kubernetes.io/ssh-auth":
        if not data.get("ssh-privatekey"):
            found.append(required("data[ssh-privatekey]"))
    elif kind == "kubernetes.io/tls":
        found += [required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
    return found


def _json(data: Json, key: str) -> list[FieldError]:
    import json

    if key not in data:
        return [required(f"data[{key}]")]
    raw = base64.b64decode(data[key])
    try:
        value = json.loads(raw)
    except ValueError:
        text = explain(raw)
        return [invalid(f"data[{key}]", "<secret contents redacted>", text)]
    if isinstance(value, dict) or value is None:
        return []
    kinds = {list: "array", str: "string", bool: "bool"}
    text = (
        f"json: cannot unmarshal {kinds.get(type(value), 'number')} into Go value of type "
        "map[string]interface {}"
    )
    return [invalid(f"data[{key}]", "<secret contents redacted>", text)]


def secret_update(new: Json, old: Json) -> list[FieldError]:
    found = []
    if new.get("type", "") != old.get("type", ""):
        found.append(invalid("type", new.get("type", ""), IMMUTABLE))
    return found + _frozen(new, old, ("data",))
