"""The OpenAPI description of a RESTServer, with the models it serves now."""

from __future__ import annotations

from typing import Any

from labapps.web import openapi

__all__ = ["document", "page"]

NUMBER = {"oneOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}
ROW = {"type": "object", "additionalProperties": NUMBER}
PROBLEMS = {
    "400": "The body is not JSON, or not of a known form",
    "401": "No token, or a wrong one",
    "404": "No such model; the body lists those there are",
    "413": "The body is too long",
    "422": "A feature is missing or is not a number; the body says which",
    "500": "The model or its script failed",
    "503": "Too many requests wait, or the worker cannot be started",
    "504": "The model or its script gave no answer in time",
}


def document(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe the interface; every served model has its own path with an example."""
    paths: dict[str, Any] = {}
    for model in models:
        if "predict" in model:
            paths[model["predict"]] = {"post": _predict(model)}
    generic = {"name": "{name}/{version}", "features": [], "description": "any served model"}
    parameters = [
        {"name": n, "in": "path", "required": True, "schema": {"type": "string"}}
        for n in ("name", "version")
    ]
    paths["/{name}/{version}/predict"] = {"post": _predict(generic), "parameters": parameters}
    invocations = _invocations()
    paths["/{name}/{version}/invocations"] = {"post": invocations, "parameters": parameters}
    paths["/invocations"] = {"post": invocations}
    for path, summary, kind in (
        ("/models", "What is served, and what is wrong", "application/json"),
        ("/health", "200 when requests may be sent here", "application/json"),
        ("/metrics", "Counters for Prometheus", "text/plain"),
    ):
        get: dict[str, Any] = {
            "summary": summary,
            "responses": {"200": {"description": "OK", "content": {kind: {}}}},
        }
        if path == "/models":
            get["security"] = [{"token": []}]
        paths[path] = {"get": get}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Deployment engine",
            "version": "1.0",
            "description": "Serves the models whose ConfigMaps are connected to this cluster. "
            "Each request bears the engine's token in X-Auth-Token, as header or query parameter.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "query": {"type": "apiKey", "in": "query", "name": "X-Auth-Token"},
            },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}, "expected": {}},
                },
                "Prediction": {
                    "type": "object",
                    "properties": {
                        "output": {"type": "string"},
                        "predictions": {"type": "array"},
                        "stderr": {"type": "string"},
                        "seconds": {"type": "number"},
                        "model": {"type": "string"},
                        "version": {"type": "string"},
                    },
                },
            },
        },
    }


def page(models: list[dict[str, Any]]) -> str:
    """Render the description for people."""
    return openapi.page(document(models))


def _predict(model: dict[str, Any]) -> dict[str, Any]:
    features = model["features"] or ["feature"]
    example = {"use_scoring": True, "scoring_args": dict.fromkeys(features, 0.0)}
    schema = {
        "type": "object",
        "required": ["scoring_args"],
        "properties": {
            "use_scoring": {"oneOf": [{"type": "boolean"}, {"type": "string"}]},
            "scoring_args": {"oneOf": [ROW, {"type": "array", "items": ROW}]},
        },
    }
    return _operation("Predict for one row, or for many", model["description"], schema, example)


def _invocations() -> dict[str, Any]:
    example = {"dataframe_split": {"columns": ["feature"], "data": [[1.0]]}}
    return _operation(
        "Predict in MLflow's form",
        "One of dataframe_split, dataframe_records, instances, inputs, or CSV with its names. "
        "The forms of MLflow 1.x (columns and data alone, a list of records, a list of rows) are "
        "answered as there, with a bare list.",
        {"type": "object"},
        example,
    )


def _operation(
    summary: str, description: str, schema: dict[str, Any], example: Any
) -> dict[str, Any]:
    media = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "summary": summary,
        "description": description,
        "security": [{"token": []}, {"query": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": {
            "200": {
                "description": "The predictions",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Prediction"}}
                },
            },
            **{code: {"description": text, "content": media} for code, text in PROBLEMS.items()},
        },
    }
