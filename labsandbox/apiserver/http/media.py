"""Content types: what a client accepts, what it sent, and writing an answer in either."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from labsandbox.apiserver.status import StatusError, not_acceptable

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_STRING = "tag:yaml.org,2002:str"
SUPPORTED = (JSON, YAML, PROTOBUF)


@dataclass(frozen=True)
class Accepted:
    """How to answer: the media type, and the form (Table, PartialObjectMetadata) if any."""

    media: str
    form: str = ""
    version: str = ""
    stream: bool = False


PLAIN = Accepted(JSON)
_FORMS = {"Table", "PartialObjectMetadata", "PartialObjectMetadataList"}
_seen: dict[tuple[str, bool], Accepted] = {}


def _clauses(header: str) -> list[tuple[str, dict[str, str]]]:
    found = []
    for at, clause in enumerate(header.split(",")):
        media, *raw = (part.strip() for part in clause.split(";"))
        parameters = dict(part.split("=", 1) for part in raw if "=" in part)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        found.append((-quality, at, media.lower(), parameters))
    found.sort(key=lambda item: item[:2])
    return [(media, parameters) for _, _, media, parameters in found]


def accept(header: str, *, forms: bool = True) -> Accepted:
    """Choose among the clauses of an Accept header, or raise 406.

    Clients that take both protobuf and JSON get JSON.
    """
    if header in ("", JSON, "*/*"):
        return PLAIN
    key = (header, forms)
    known = _seen.get(key)
    if known is None:
        known = _choose(header, forms)
        if len(_seen) > 200:
            _seen.clear()
        _seen[key] = known
    return known


def _choose(header: str, forms: bool) -> Accepted:
    wanted_form = has_protobuf = False
    for media, parameters in _clauses(header):
        if media in ("*/*", "application/*"):
            media = JSON
        if media not in SUPPORTED:
            continue
        form = parameters.get("as", "")
        if not form:
            if media == PROTOBUF:
                has_protobuf = True
                continue
            return Accepted(media, stream=parameters.get("stream") == "watch")
        wanted_form = True
        known = (
            forms
            and form in _FORMS
            and parameters.get("g") == "meta.k8s.io"
            and parameters.get("v") in ("v1", "v1beta1")
            and media in (JSON, YAML)
        )
        if known:
            stream = parameters.get("stream") == "watch"
            return Accepted(media, form, parameters["v"], stream)
    if has_protobuf:
        return Accepted(PROTOBUF)
    if wanted_form:
        raise only_accepted()
    raise not_acceptable(SUPPORTED)


def takes_plain(header: str) -> bool:
    """Does a client that asks for a form also take the object itself?"""
    return any(
        media in (*SUPPORTED, "*/*", "application/*") and not parameters.get("as")
        for media, parameters in _clauses(header)
    )


def accept_errors(header: str) -> str:
    """The media type for an error: what the client wants if possible, JSON otherwise."""
    try:
        media = accept(header).media
    except StatusError:
        return JSON
    return media


def write(value: Any, media: str, *, pretty: bool = False) -> bytes:
    """Serialise an answer."""
    if media == YAML:
        return write_yaml(value)
    if media == PROTOBUF:
        return write_protobuf(value)
    if pretty:  # as Go writes it: without a newline at the end
        return orjson.dumps(value, option=orjson.OPT_INDENT_2)
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def only_accepted() -> StatusError:
    """406 for a form or encoding a kind does not have."""
    return StatusError(
        406,
        "NotAcceptable",
        f"only the following media types are accepted: {', '.join(SUPPORTED)}",
    )


def write_protobuf(value: Any) -> bytes:
    """Protobuf, for kinds that have a form in it."""
    from labsandbox.apiserver.protobuf import Unencodable, encode

    try:
        return encode(value)
    except Unencodable:
        raise only_accepted() from None


def write_yaml(value: Any) -> bytes:
    """YAML as the server writes it: keys sorted, block style."""
    import yaml

    text: str = yaml.dump(
        value, Dumper=_dumper(), default_flow_style=False, sort_keys=True, width=80,
        allow_unicode=True,
    )  # fmt: skip
    return text.encode()


@cache
def _dumper() -> Any:
    """A dumper that quotes as Go's does: text that would be read as something else, doubly."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    resolver: Any = yaml.resolver.Resolver()

    def represent(dumper: Any, text: str) -> Any:
        style = None
        if "\n" in text:
            style = "|"
        elif resolver.resolve(yaml.ScalarNode, text, (True, False)) != _STRING or text == "":
            style = '"'
        return dumper.represent_scalar(_STRING, text, style=style)

    Dumper.add_representer(str, represent)
    return Dumper


def media_type(header: str, default: str = JSON) -> str:
    """The media type of a Content-Type header without its parameters."""
    if not header:
        return default
    return header.split(";", 1)[0].strip().lower()
