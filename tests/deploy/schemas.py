"""Judge a manifest by published schemas: those of Kubernetes' releases, and KubeDirector's CRDs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.repo.tree import ROOT

Json = dict[str, Any]
VERSIONS = ("1.30", "1.32", "1.37")
"""The oldest the manifests are for, the one that the laptop platform speaks, the newest known."""
_CRDS = ROOT / "labsandbox" / "kubedirector" / "crds"


def complaints(obj: Json, version: str) -> list[str]:
    """Return what a release of Kubernetes, or KubeDirector, would not read in a manifest."""
    if str(obj.get("apiVersion", "")).startswith("kubedirector.hpe.com/"):
        validator = jsonschema.Draft202012Validator(_custom(str(obj["kind"])))
    else:
        place = _folder(version) / _file(obj)
        if not place.is_file():
            return [f"Kubernetes {version} has no {obj.get('apiVersion')} {obj.get('kind')}"]
        validator = _validator(place, version)
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(obj)
    ]


def _file(obj: Json) -> str:
    """Return the name of a kind's schema, such as networkpolicy-networking-v1.json."""
    version = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", str(obj.get("apiVersion")))
    return f"{str(obj.get('kind')).lower()}-{version}.json"


def _folder(version: str) -> Path:
    package = find_spec("kubernetes_validate")
    assert package is not None
    assert package.origin is not None
    schemas = Path(package.origin).parent / "kubernetes-json-schema"
    return schemas / f"v{version}.0-local-strict"


@cache
def _registry(version: str) -> Registry[Any]:
    definitions = json.loads((_folder(version) / "_definitions.json").read_bytes())
    resource = Resource.from_contents(definitions, default_specification=DRAFT202012)
    return Registry().with_resource("_definitions.json", resource).crawl()


@cache
def _validator(place: Path, version: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        json.loads(place.read_bytes()), registry=_registry(version)
    )


@cache
def _custom(kind: str) -> Json:
    for path in _CRDS.glob("*.yaml"):
        found = yaml.safe_load(path.read_text("utf-8"))
        if found["spec"]["names"]["kind"] == kind:
            schema: Json = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            top = dict.fromkeys(("apiVersion", "kind", "metadata"), True)
            schema["properties"] |= top  # what any object has
            return _strict(schema)
    raise LookupError(f"no CRD of {kind}")


def _strict(schema: Any) -> Any:
    """Turn a CRD's schema into one of jsonschema that refuses what the CRD would drop."""
    if not isinstance(schema, dict):
        return schema
    made = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if made.pop("nullable", False) and "type" in made:
        made["type"] = [*_listed(made["type"]), "null"]
    if "properties" in schema:
        made["properties"] = {key: _strict(value) for key, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if key in schema:
            made[key] = _strict(schema[key])
    return made


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def documents(text: str) -> Iterator[Json]:
    """Yield the objects of a file of manifests."""
    for found in yaml.safe_load_all(text):
        if found:
            yield found
