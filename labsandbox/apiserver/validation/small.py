"""Kinds with few rules: signing requests, pod templates."""

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
)
from labsandbox.apiserver.validation.goprint import Raw
from labsandbox.apiserver.validation.pods.spec import validate_template

Json = dict[str, Any]
USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign",
    "data encipherment", "decipher only", "digital signature", "email protection",
    "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
    "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth",
    "signing", "timestamping",
)  # fmt: skip


def pod_template(obj: Json) -> list[FieldError]:
    return validate_template(obj.get("template") or {}, "template")


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
