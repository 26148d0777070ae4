"""Whole documents, as bytes: /openapi/v2, the index of /openapi/v3 and its parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson

from labsandbox.apiserver.openapi.gnostic import encode
from labsandbox.apiserver.openapi.paths import resource_paths
from labsandbox.apiserver.openapi.schemas import V2, V3, custom_schemas, published, references
from labsandbox.apiserver.registry import Catalog, ResourceDef
from labsandbox.apiserver.schema import definitions
from labsandbox.apiserver.schema.definitions import META

Json = dict[str, Any]
_INFO = {"title": "Kubernetes", "version": "1.32"}
_ALONE = (".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version")
_TOKEN = {
    "BearerToken": {
        "description": "Bearer Token authentication",
        "type": "apiKey",
        "name": "authorization",
        "in": "header",
    }
}


def document_paths(catalog: Catalog) -> list[str]:
    """The parts /openapi/v3 consists of."""
    found = set(_ALONE)
    for resource in catalog:
        if not resource.group:
            found.add(f"api/{resource.version}")
        else:
            if resource.custom is None:
                found.add(f"apis/{resource.group}")
            found.add(f"apis/{resource.group}/{resource.version}")
    return sorted(found)


def _rows(catalog: Catalog, path: str) -> list[ResourceDef]:
    kind, _, rest = path.partition("/")
    if kind == "api":
        return [row for row in catalog if not row.group and row.version == rest]
    if kind != "apis":
        return []
    group, _, version = rest.partition("/")
    return [row for row in catalog if row.group == group and version and row.version == version]


def document_hash(catalog: Catalog, path: str) -> str:
    """Changes when the document does; cheaper than making it."""
    told = [path, definitions.VERSION]
    for row in _rows(catalog, path):
        told.append(repr((row.group, row.version, row.plural, row.verbs, sorted(row.subresources))))
        if row.custom is not None:
            told.append(orjson.dumps(row.custom.spec).decode())
    return hashlib.sha512("\n".join(told).encode()).hexdigest().upper()


def whole_hash(catalog: Catalog) -> str:
    """The hash of the Swagger 2 document: of all parts together."""
    parts = [document_hash(catalog, path) for path in document_paths(catalog)]
    return hashlib.sha512("\n".join(parts).encode()).hexdigest().upper()


def index(catalog: Catalog) -> Json:
    """What GET /openapi/v3 answers."""
    return {
        "paths": {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={document_hash(catalog, path)}"}
            for path in document_paths(catalog)
        }
    }


def _plain_item(path: str, kind: str, prefix: str) -> Json:
    target = {"$ref": f"{prefix}{META}{kind}"}
    answer: Json = {"description": "OK"}
    if prefix == V3:
        answer["content"] = {"application/json": {"schema": target}}
    else:
        answer["schema"] = target
    name = "".join(part.split(".")[0].capitalize() for part in path.split("/") if part)
    responses = {"200": answer, "401": {"description": "Unauthorized"}}
    return {"get": {"description": f"get {kind}", "operationId": f"get{name}",
                    "responses": responses}}  # fmt: skip


def _closure(names: set[str], prefix: str) -> dict[str, bytes]:
    """The named definitions and all they refer to, as JSON."""
    done: dict[str, bytes] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in done or not name:
            continue
        body = published(name, prefix)
        if not body:
            continue
        done[name] = orjson.dumps(body)
        waiting += references(body)
    return done


def _join(parts: dict[str, bytes]) -> bytes:
    rows = (orjson.dumps(name) + b":" + parts[name] for name in sorted(parts))
    return b"{" + b",".join(rows) + b"}"


def _parts(rows: list[ResourceDef], prefix: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Paths and schemas of resources."""
    paths: dict[str, bytes] = {}
    names: set[str] = set()
    schemas: dict[str, bytes] = {}
    for row in rows:
        if row.custom is not None:
            for name, schema in custom_schemas(row, prefix).items():
                schemas[name] = orjson.dumps(schema)
                names.update(references(schema))
        for path, item in resource_paths(row, prefix):
            paths[path] = orjson.dumps(item)
            names.update(references(item))
    schemas.update(_closure(names - set(schemas), prefix))
    return paths, schemas


def v3(catalog: Catalog, path: str) -> bytes | None:
    """One part of /openapi/v3; None when there is none of this path."""
    if path not in document_paths(catalog):
        return None
    rows = _rows(catalog, path)
    paths, schemas = _parts(rows, V3)
    if rows and rows[0].custom is None:
        schemas.update(_closure({META + "DeleteOptions", META + "WatchEvent"}, V3))
    kind = "APIResourceList" if rows else "APIGroup"
    if not rows or rows[0].custom is None:
        paths[f"/{path}/"] = orjson.dumps(_plain_item(path, kind, V3))
        schemas.update(_closure({META + kind}, V3))
    security = orjson.dumps({"securitySchemes": _TOKEN})[1:-1]
    return b"".join(
        [b'{"openapi":"3.0.0","info":', orjson.dumps(_INFO), b',"paths":', _join(paths),
         b',"components":{"schemas":', _join(schemas), b",", security, b"}}"]
    )  # fmt: skip


def _bases(catalog: Catalog) -> Iterator[tuple[str, str]]:
    yield from (("/api/", "APIVersions"), ("/api/v1/", "APIResourceList"))
    yield "/apis/", "APIGroupList"
    for resource in catalog:
        if resource.group and resource.custom is None:
            yield f"/apis/{resource.group}/", "APIGroup"
            yield f"/apis/{resource.group}/{resource.version}/", "APIResourceList"


def v2(catalog: Catalog) -> bytes:
    """The whole API as one Swagger 2 document."""
    paths, schemas = _parts(list(catalog), V2)
    for path, kind in _bases(catalog):
        paths.setdefault(path, orjson.dumps(_plain_item(path, kind, V2)))
        schemas.update(_closure({META + kind}, V2))
    head = {
        "swagger": "2.0",
        "info": _INFO,
        "parameters": {},
        "securityDefinitions": _TOKEN,
        "security": [{"BearerToken": []}],
    }
    return b"".join(
        [orjson.dumps(head)[:-1], b',"paths":', _join(paths), b',"definitions":', _join(schemas),
         b"}"]
    )  # fmt: skip


def v2_protobuf(catalog: Catalog) -> bytes:
    """The Swagger 2 document in gnostic's protobuf form."""
    return encode(orjson.loads(v2(catalog)))
