"""Definitions of kinds that ask for much work: rules, patterns, alternatives, sheer size."""

from __future__ import annotations

from typing import Any

from tests.attack.neighbour import (
    CRDS,
    TOYS,
    Json,
    Request,
    as_json,
)


def make_crd(plural: str, schema: Json, **version: Any) -> Json:
    kind = plural.rstrip("s").capitalize()
    one = {"name": "v1", "served": True, "storage": True, **version}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.bomb.example"},
        "spec": {
            "group": "bomb.example",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{**one, "schema": {"openAPIV3Schema": schema}}],
        },
    }


FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _ruled(plural: str, rule: str) -> Json:
    numbers = {"type": "array", "items": {"type": "integer"}}
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {"list": numbers, "text": text},
        "x-kubernetes-validations": [{"rule": rule}],
    }
    return make_crd(plural, schema)


def cel_nested() -> Request:
    return as_json("POST", TOYS.replace("toys", "rules"), _rule_object(list(range(100))))


def _rule_object(numbers: list[int], text: str = "") -> Json:
    return {
        "apiVersion": "bomb.example/v1",
        "kind": "Rule",
        "metadata": {"name": "r"},
        "list": numbers,
        "text": text,
    }


def cel_kind() -> Request:
    inner = "self.list.all(a, self.list.all(b, self.list.all(c, self.list.all(d, a+b+c+d >= 0))))"
    return as_json("POST", CRDS, _ruled("rules", inner))


def cel_text_kind() -> Request:
    text = "self.text"
    for _ in range(5):
        text = f"({text}).replace('', self.text)"
    return as_json("POST", CRDS, _ruled("texts", f"{text} != 'x'"))


def cel_text() -> Request:
    obj = {**_rule_object([], "x" * 100), "kind": "Text"}
    return as_json("POST", TOYS.replace("toys", "texts"), obj)


def cel_deep() -> Request:
    rule = "(" * 5_000 + "true" + ")" * 5_000
    return as_json("POST", f"{CRDS}?dryRun=All", _ruled("deeps", rule))


def cel_long() -> Request:
    rule = " && ".join(["self.text == ''"] * 20_000)
    return as_json("POST", f"{CRDS}?dryRun=All", _ruled("longs", rule))


def pattern_kind() -> Request:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}},
    }
    return as_json("POST", CRDS, make_crd("words", schema))


def pattern() -> Request:
    obj = {"apiVersion": "bomb.example/v1", "kind": "Word", "metadata": {"name": "w"}}
    return as_json("POST", TOYS.replace("toys", "words"), {**obj, "text": "a" * 2_000_000})


def pattern_large() -> Request:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "pattern": "^((a{0,100}){0,100}){0,100}$"}},
    }
    return as_json("POST", f"{CRDS}?dryRun=All", make_crd("larges", schema))


def schema_wide(plural: str = "wides") -> Json:
    below = {"type": "object", "properties": {f"q{n}": {"type": "string"} for n in range(100)}}
    return {"type": "object", "properties": {f"p{number}": below for number in range(700)}}


def large_kind() -> Request:
    return as_json("POST", f"{CRDS}?dryRun=All", make_crd("wides", schema_wide()))


def large_kind_kept() -> Request:
    return as_json("POST", CRDS, make_crd("wides", schema_wide()))


def openapi() -> Request:
    return Request("GET", "/openapi/v2")


def alternatives_kind() -> Request:
    """anyOf in anyOf: each level is judged for each alternative above it."""
    schema: Json = {"properties": {"x": {"minimum": 1}}}
    for _ in range(12):
        schema = {"anyOf": [schema, schema]}
    root = {"type": "object", "properties": {"x": {"type": "integer"}}, **schema}
    return as_json("POST", f"{CRDS}?dryRun=All", make_crd("choices", root))
