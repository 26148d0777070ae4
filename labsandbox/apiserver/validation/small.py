"""Kinds with few rules: runtime classes, signing requests, CSI objects, pod templates."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
)
from labsandbox.apiserver.validation.goprint import Raw
from labsandbox.apiserver.validation.meta import check_all
from labsandbox.apiserver.validation.pods.spec import validate_template

Json = dict[str, Any]
LONGEST_NODE_ID = 192
USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign",
    "data encipherment", "decipher only", "digital signature", "email protection",
    "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
    "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth",
    "signing", "timestamping",
)  # fmt: skip


def pod_template(obj: Json) -> list[FieldError]:
    return validate_template(obj.get("template") or {}, "template")


def runtime_class(obj: Json) -> list[FieldError]:
    handler = obj.get("handler", "")
    return check_all("handler", handler, names.label(handler))


def frozen_handler(new: Json, old: Json) -> list[FieldError]:
    if new.get("handler") == old.get("handler"):
        return []
    return [invalid("handler", new.get("handler", ""), "field is immutable")]


def csi_node(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
        path = f"spec.drivers[{index}]"
        name, node = driver.get("name", ""), driver.get("nodeID", "")
        found += _driver_name(name, f"{path}.name")
        if not node:
            found.append(required(f"{path}.nodeID"))
        if len(node) > LONGEST_NODE_ID:
            detail = f"must be {LONGEST_NODE_ID} characters or less"
            found.append(invalid(f"{path}.nodeID", node, detail))
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None and count < 0:
            detail = "must be greater than or equal to 0"
            found.append(invalid(f"{path}.allocatable.count", count, detail))
        if name in seen:
            found.append(duplicate(f"{path}.name", name))
        seen.add(name)
    return found


def _driver_name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    found: list[FieldError] = []
    if len(name) > 63:
        found.append(too_long(path, 63))
    return found + check_all(path, name.lower(), names.subdomain(name.lower()))


def attachment(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    attacher, node = spec.get("attacher", ""), spec.get("nodeName", "")
    found: list[FieldError] = []
    if not attacher:
        found.append(required("spec.attacher"))
    else:
        found += _driver_name(attacher, "spec.attacher")
    found += check_all("spec.nodeName", node, names.subdomain(node))
    source = spec.get("source") or {}
    volume, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if volume is None and inline is None:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        found.append(required("spec.source", detail))
    elif volume is not None and inline is not None:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        # differs: the inline volume is not printed.
        found.append(invalid("spec.source", Raw("storage.VolumeAttachmentSource{}"), detail))
    elif volume == "":
        detail = "must specify non empty persistentVolumeName"
        found.append(required("spec.source.persistentVolumeName", detail))
    return found


def signing_request(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    if not _is_request(spec.get("request")):
        # differs: a real server names the byte at which its parser gave up.
        detail = "PEM block type must be CERTIFICATE REQUEST"
        shown = _bytes(spec.get("request"))
        found.append(invalid("spec.request", shown, detail))
    usages = spec.get("usages") or ()
    if not usages:
        found.append(required("spec.usages"))
    seen: set[str] = set()
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            found.append(not_supported(f"spec.usages[{index}]", usage, USAGES))
        elif usage in seen:
            found.append(duplicate(f"spec.usages[{index}]", usage))
        seen.add(usage)
    found += _signer(spec.get("signerName", ""))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        found.append(invalid("spec.expirationSeconds", seconds, detail))
    return found


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "")
    except (binascii.Error, ValueError):
        return b""


def _is_request(text: str | None) -> bool:
    return b"-----BEGIN CERTIFICATE REQUEST-----" in _decoded(text)


def _bytes(text: str | None) -> Raw:
    shown = ", ".join(f"0x{byte:x}" for byte in _decoded(text))
    return Raw(f"[]byte{{{shown}}}" if shown else "[]byte(nil)")


def _signer(name: str) -> list[FieldError]:
    if not name:
        return [required("spec.signerName")]
    domain, slash, path = name.partition("/")
    if not slash:
        detail = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
        return [invalid("spec.signerName", name, detail)]
    found = [invalid("spec.signerName", domain, text) for text in names.subdomain(domain)]
    if not found and "." not in domain:
        detail = "should be a domain with at least two segments separated by dots"
        found.append(invalid("spec.signerName", domain, detail))
    for part in path.split("."):
        found += [invalid("spec.signerName", part, text) for text in names.label(part)]
    return found
