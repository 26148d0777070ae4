"""The description of the API as OpenAPI 2, from which generators make clients."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from labapps.workbench.ask import Route
from labapps.workbench.shapes import ANSWERS, LISTS, SHAPES

__all__ = ["document"]

PAGING = ("search_filter", "sort", "page_size", "page_token")
TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
TYPES: dict[str, dict[str, Any]] = {
    "cpu": {"type": "number"},
    "memory": {"type": "number"},
    "nvidia_gpu": {"type": "integer"},
    "nvidia_gpus": {"type": "integer"},
    "replicas": {"type": "integer"},
    "replication_policy": {"$ref": "#/definitions/ReplicationPolicy"},
    "default_resources": {"$ref": "#/definitions/ModelResources"},
    "default_replication_policy": {"$ref": "#/definitions/ReplicationPolicy"},
    "max_retry": {"type": "integer"},
    "paused": {"type": "boolean"},
    "kill_on_timeout": {"type": "boolean"},
    "retry_enabled": {"type": "boolean"},
    "disable_authentication": {"type": "boolean"},
    "auto_build_model": {"type": "boolean"},
    "auto_deploy_model": {"type": "boolean"},
    "auto_build_config": {"$ref": "#/definitions/CreateModelBuildRequest"},
    "auto_deployment_config": {"$ref": "#/definitions/CreateModelDeploymentRequest"},
    "environment": TEXTS,
    "deployment_secrets": TEXTS,
    "runtime_addon_identifiers": {"type": "array", "items": TEXT},
    "recipients": {"type": "array", "items": {"type": "object"}},
    "attachments": {"type": "array", "items": TEXT},
    "tags": {"type": "array", "items": {"type": "object"}},
}
ERROR = {
    "type": "object",
    "properties": {
        "error": TEXT,
        "code": {"type": "integer"},
        "message": TEXT,
        "details": {"type": "array", "items": {"type": "object"}},
    },
}
EXTRA = {"get_job_run": ("tree",), "get_job_run_log": ("offset",)}
CALL: dict[str, Any] = {"accessKey": TEXT, "request": {"type": "object"}}
WINDOW: dict[str, Any] = {
    "modelDeploymentCrn": TEXT,
    "startTimestampMs": {"type": "integer"},
    "endTimestampMs": {"type": "integer"},
}
METRICS = {"metrics": {"type": "object"}}
UUID = {"predictionUuid": TEXT}
CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "/model": ("call_model", "Call a model; the access key names it", CALL),
    "/track-metrics": ("track_metrics", "Record a call", WINDOW | UUID | METRICS),
    "/track-delayed-metrics": ("track_delayed_metrics", "Add what is known later, by the call's "
                               "uuid", UUID | METRICS),
    "/track-aggregate-metrics": ("track_aggregate_metrics", "Record metrics of a window",
                                 WINDOW | METRICS),
    "/read-metrics": ("read_metrics", "Return calls and aggregates of a window",
                      WINDOW | {"page_size": {"type": "integer"}, "page_token": TEXT}),
}  # fmt: skip


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe the routes."""
    paths: dict[str, dict[str, Any]] = {}
    definitions: dict[str, Any] = {"runtimeError": ERROR}
    for name, fields in SHAPES.items():
        definitions[name] = {"type": "object", "properties": fields}
    for route in routes:
        verbs = paths.setdefault(f"/api/v2{route.path}", {})
        verbs[route.verb.lower()] = operation(route, definitions)
    for path, (name, summary, properties) in CALLS.items():
        schema = {"type": "object", "properties": properties}
        definitions[f"{camel(name)}Request"] = schema
        paths[path] = {"post": described(name, summary, [in_body(name)], "Empty")}
    return {
        "swagger": "2.0",
        "info": {
            "title": "Workbench",
            "version": "v2",
            "description": "Projects, jobs, models, deployments and metrics on Kubernetes.",
        },
        "schemes": ["http", "https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {
            "BearerAuth": {"type": "apiKey", "name": "Authorization", "in": "header"}
        },
        "security": [{"BearerAuth": []}],
        "paths": paths,
        "definitions": definitions,
    }


def operation(route: Route, definitions: dict[str, Any]) -> dict[str, Any]:
    """Describe one route; the schemas of its body and its answer join the definitions."""
    names = re.findall(r"{(\w+)}", route.path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "type": "string"} for name in names
    ]
    query = PAGING if route.is_list else EXTRA.get(route.name, ())
    parameters += [
        {"name": name, "in": "query", "required": False}
        | ({"type": "integer"} if name in ("page_size", "offset") else TEXT)
        for name in query
    ]
    if route.fields:
        # As in the published API, a body may repeat the names of the path.
        fields = {field: TYPES.get(field, TEXT) for field in (*names, *route.fields)}
        definitions[f"{camel(route.name)}Request"] = {"type": "object", "properties": fields}
        parameters.insert(0, in_body(route.name))
    if route.is_raw:
        body = {"type": "string", "format": "binary"}
        parameters.insert(0, {"name": "body", "in": "body", "required": True, "schema": body})
    found = described(route.name, route.summary, parameters, answer(route.name, definitions))
    if route.is_raw:
        found["consumes"] = ["application/octet-stream"]
    return found


def answer(name: str, definitions: dict[str, Any]) -> str:
    """Return the name of a method's answer; that of a list joins the definitions."""
    if name in LISTS:
        key, shape = LISTS[name]
        fields = {
            key: {"type": "array", "items": {"$ref": f"#/definitions/{shape}"}},
            "next_page_token": TEXT,
        }
        definitions[f"{camel(name)}Response"] = {"type": "object", "properties": fields}
        return f"{camel(name)}Response"
    if name == "validate_key":
        return "ValidateKeyResponse"
    verb, _, subject = name.partition("_")
    is_gone = verb == "delete" or subject == "project_collaborator"
    return "Empty" if is_gone else ANSWERS[subject]


def described(name: str, summary: str, parameters: list[Any], shape: str) -> dict[str, Any]:
    """Return an operation."""
    schema, error = {"$ref": f"#/definitions/{shape}"}, {"$ref": "#/definitions/runtimeError"}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["CMLService"],
        "parameters": parameters,
        "responses": {
            "200": {"description": shape, "schema": schema},
            "default": {"description": "An error", "schema": error},
        },
    }


def in_body(name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/definitions/{camel(name)}Request"}
    return {"name": "body", "in": "body", "required": True, "schema": schema}


def camel(name: str) -> str:
    """Return the name of a type.

    >>> camel("create_job_run")
    'CreateJobRun'
    """
    return "".join(word.capitalize() for word in name.split("_"))
