"""The OpenAPI description of the training engine."""

from __future__ import annotations

from typing import Any

from labapps.training.submission import EXAMPLE

__all__ = ["ROUTES", "document"]

ROUTES = [
    "POST /train",
    "GET /history",
    "GET /history/<n>",
    "GET /history/<n>/code",
    "GET /history/<n>/logs",
    "GET /history/<n>/stream",
    "DELETE /history/<n>",
    "GET /stats",
    "GET /health",
    "GET /metrics",
    "GET /docs",
    "GET /openapi.json",
]
STATES = ["Queued", "Running", "Finished", "Failed", "Cancelled", "TimedOut"]
NUMBER = {"name": "n", "in": "path", "required": True, "schema": {"type": "integer"}}
AUTH = {
    "name": "auth",
    "in": "query",
    "schema": {"enum": ["none"]},
    "description": "none: read without a token",
}
TOKEN: list[dict[str, list[str]]] = [{"token": []}, {"query": []}]
SUBMISSION = {
    "type": "object",
    "required": ["code"],
    "additionalProperties": False,
    "properties": {
        "code": {"type": "string", "description": "the source of a Python program"},
        "name": {"type": "string"},
        "user": {"type": "string", "description": "whose job it is, unless Basic says so"},
        "resources": {
            "type": "object",
            "properties": {
                "memory": {"type": "string", "pattern": "^[0-9.]+(k|M|G|Ki|Mi|Gi)?$"},
                "cpu": {"type": "number"},
                "seconds": {"type": "number", "description": "after this it is TimedOut"},
            },
        },
        "env": {"type": "object"},
        "args": {"type": "array", "description": "the program's arguments, sys.argv[1:]"},
        "rerun": {"type": "boolean", "description": "start again when its worker is lost"},
    },
}
JOB = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "user": {"type": "string"},
        "args": {"type": "array"},
        "code_digest": {"type": "string", "description": "sha256 of its program"},
        "status": {"enum": STATES},
        "reason": {"type": "string", "description": "why it failed"},
        "output": {"type": "string", "description": "standard output"},
        "log_url": {"type": "string", "description": "standard error is there"},
        "folder": {"type": "string", "description": "its results, on the project repository"},
        "exit_code": {"type": ["integer", "null"]},
        "usage": {"type": "object"},
    },
}


def document() -> dict[str, Any]:
    """Describe the interface for learners (workers have one of their own)."""
    jobs = {"type": "array", "items": {"$ref": "#/components/schemas/Job"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Training engine",
            "version": "1.0",
            "description": "A queue of Python jobs. Submitting and cancelling need the engine's "
            "token in X-Auth-Token (header or query); Authorization: Basic user:password, when the "
            "platform's login is connected, proves whose job it is. A job runs in "
            "jobs/<engine>/<n>/ of the project repository; PROJECT_REPO names the repository, "
            "SPARK_MASTER the connected Spark cluster.",
        },
        "paths": {
            "/train": {
                "post": {
                    "summary": "Submit a job",
                    "security": TOKEN,
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": SUBMISSION, "example": EXAMPLE}},
                    },
                    "responses": {
                        "201": _reply("Queued; history_url says where to look", {"type": "object"}),
                        "400": _reply("Not JSON"),
                        "401": _reply("No token, a wrong one, or a wrong password"),
                        "413": _reply("Too long"),
                        "422": _reply("Something in it is not as expected"),
                        "429": _reply("This user has too many jobs waiting"),
                    },
                }
            },
            "/history": {
                "get": {
                    "summary": "The newest jobs",
                    "security": TOKEN,
                    "parameters": [
                        AUTH,
                        *(
                            {"name": name, "in": "query", "schema": {"type": "string"}}
                            for name in ("user", "status", "limit")
                        ),
                    ],
                    "responses": {"200": _reply("Jobs", jobs), "401": _reply("No token")},
                }
            },
            "/history/{n}": {
                "parameters": [NUMBER],
                "get": {
                    "summary": "One job, in a list",
                    "security": TOKEN,
                    "parameters": [AUTH],
                    "responses": {"200": _reply("It", jobs), "404": _reply("No such job")},
                },
                "delete": {
                    "summary": "Cancel a job",
                    "security": TOKEN,
                    "responses": {"200": _reply("It", jobs), "404": _reply("No such job")},
                },
            },
            "/history/{n}/code": {
                "parameters": [NUMBER],
                "get": {
                    "summary": "The program it ran, with the sha256 of its record",
                    "security": TOKEN,
                    "responses": {"200": {"description": "Python"}, "410": _reply("Gone")},
                },
            },
            "/history/{n}/logs": {
                "parameters": [NUMBER],
                "get": {
                    "summary": "What it wrote to standard error",
                    "security": TOKEN,
                    "parameters": [AUTH],
                    "responses": {"200": _reply("logs", {"type": "object"})},
                },
            },
            "/history/{n}/stream": {
                "parameters": [NUMBER],
                "get": {
                    "summary": "Its output while it runs, a JSON object a line",
                    "security": TOKEN,
                    "parameters": [AUTH],
                    "responses": {"200": {"description": "lines until it has ended"}},
                },
            },
            "/stats": {
                "get": {
                    "summary": "Jobs by state, workers, limits",
                    "responses": {"200": _reply("State", {"type": "object"})},
                }
            },
        },
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "query": {"type": "apiKey", "in": "query", "name": "X-Auth-Token"},
            },
            "schemas": {
                "Job": JOB,
                "Problem": {"type": "object", "properties": {"error": {"type": "string"}}},
            },
        },
    }


def _reply(text: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    found = schema or {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/json": {"schema": found}}}
