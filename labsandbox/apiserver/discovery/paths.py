"""Paths that are not about objects: discovery, health, version, keys, OpenAPI."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver import metrics
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.token import ISSUER
from labsandbox.apiserver.discovery import documents
from labsandbox.apiserver.discovery.health import probe, root_paths
from labsandbox.apiserver.http.media import JSON, accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response, answer, text
from labsandbox.apiserver.status import method_not_allowed, no_such_path, not_acceptable

Json = dict[str, Any]
_DISCOVERY = "apidiscovery.k8s.io"


async def answer_path(api: Api, request: Request) -> Response:
    """Answer a path without an object."""
    path = request.path.rstrip("/") or "/"
    parts = path.strip("/").split("/")
    health = probe(request)
    if health is not None:
        return health
    if request.method != "GET" and parts[0] in ("api", "apis", "version", "openapi"):
        raise method_not_allowed()
    if parts[0] == "openapi":
        from labsandbox.apiserver.discovery.openapi import answer_openapi

        return await answer_openapi(api, request, parts[1:])
    if parts[0] in ("api", "apis"):
        metrics.refresh(api)
        return _discovery(api, request, parts)
    if path == "/version":
        return _plain(request, documents.VERSION)
    if path == "/":
        return _plain(request, root_paths(api.catalog))
    if path == "/.well-known/openid-configuration":
        return _issuer(api, request)
    if path == "/openid/v1/jwks":
        return _keys(api, request)
    if path in ("/metrics", "/metrics/slis"):
        return text(200, _metrics(api))
    return text(404, "404 page not found\n")


def _plain(request: Request, value: Json) -> Response:
    return answer(value, request)


def _wants_aggregated(request: Request) -> str:
    """The version of aggregated discovery a client asks for first, or an empty string."""
    for clause in request.headers.get("accept", "").split(","):
        parameters = dict(
            part.strip().split("=", 1) for part in clause.split(";")[1:] if "=" in part
        )
        if parameters.get("as") == "APIGroupDiscoveryList" and parameters.get("g") == _DISCOVERY:
            version = parameters.get("v", "")
            if version in ("v2", "v2beta1"):
                return version
        elif not parameters.get("as") and clause.strip().startswith(("application/", "*/*")):
            return ""
    return ""


def _discovery(api: Api, request: Request, parts: list[str]) -> Response:
    catalog = api.catalog
    core = parts[0] == "api"
    if len(parts) == 1:
        form = _wants_aggregated(request)
        if form:
            return _aggregated(api, request, form, core)
        if core:
            return _shown(request, documents.api_versions(api.url.removeprefix("https://")))
        return _shown(request, documents.api_groups(catalog))
    if core:
        found = documents.resource_list(catalog, "", parts[1]) if len(parts) == 2 else None
        if found is None:
            raise no_such_path()
        return _shown(request, found)
    group = parts[1]
    if len(parts) == 2:
        found = documents.api_group(catalog, group)
        if found is None:
            return text(404, "404 page not found\n")
        return _shown(request, found)
    found = documents.resource_list(catalog, group, parts[2])
    if found is None:
        if not catalog.versions(group):
            return text(404, "404 page not found\n")
        raise no_such_path()
    return _shown(request, found)


def _shown(request: Request, value: Json) -> Response:
    accepted = accept(request.headers.get("accept", ""), forms=False)
    media = JSON if accepted.media.endswith("protobuf") else accepted.media
    return answer(value, request, media=media)


def _aggregated(api: Api, request: Request, form: str, core: bool) -> Response:
    key = f"aggregated {form} {core}"
    known = api.cache.get(key)
    if known is None or known[0] != api.catalog.revision:
        body = documents.dumps(documents.aggregated(api.catalog, form, core=core))
        known = api.cache[key] = (api.catalog.revision, body, documents.entity_tag(body))
    _, body, tag = known
    headers = [(b"etag", tag.encode()), (b"vary", b"Accept")]
    if request.headers.get("if-none-match") == tag:
        return Response(304, b"", "", headers, cache=b"public")
    media = f"application/json;g={_DISCOVERY};v={form};as=APIGroupDiscoveryList"
    return Response(200, body, media, headers, cache=b"public")


def _issuer(api: Api, request: Request) -> Response:
    value = {
        "issuer": ISSUER,
        "jwks_uri": f"{api.url}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
    return Response(200, documents.dumps(value), cache=b"public, max-age=3600")


def _keys(api: Api, request: Request) -> Response:
    media = "application/jwk-set+json"
    accepted = request.headers.get("accept", "*/*")
    if media not in accepted and "*/*" not in accepted:
        raise not_acceptable([media])
    body = documents.dumps(api.tokens.key_set())
    return Response(200, body, media, cache=b"public, max-age=3600")


def _metrics(api: Api) -> str:
    """A few numbers in the Prometheus text format."""
    lines = [
        "# HELP labsandbox_revision The revision of the last committed change.",
        "# TYPE labsandbox_revision counter",
        f"labsandbox_revision {api.store.revision}",
        "# HELP labsandbox_watches Watches that are open now.",
        "# TYPE labsandbox_watches gauge",
        f"labsandbox_watches {len(api.hub)}",
        "# HELP apiserver_storage_objects Stored objects by resource.",
        "# TYPE apiserver_storage_objects gauge",
    ]
    for resource in api.catalog:
        if "list" in resource.verbs and resource.storage is None:
            count = len(api.store.bucket(resource.bucket).ordered(None))
            lines.append(
                f'apiserver_storage_objects{{resource="{resource.group_resource}"}} {count}'
            )
    return "\n".join([*lines, ""])
