"""The HTTP interface of a RESTServer."""

from __future__ import annotations

import time
from typing import Any

from labapps.deployment import frames, openapi, rows
from labapps.deployment.metrics import Metrics
from labapps.deployment.registry import Registry, Served
from labapps.deployment.scripts import ScriptPool
from labapps.web.asgi import Problem, Reply, Request

__all__ = ["Api"]

OPEN = {
    "": "/docs",
    "health": "/health",
    "ping": "/ping",
    "metrics": "/metrics",
    "docs": "/docs",
    "openapi.json": "/openapi.json",
}


class Api:
    """Routes requests to models."""

    def __init__(self, registry: Registry, metrics: Metrics) -> None:
        self.registry, self.metrics = registry, metrics
        self.tokens: frozenset[str] = frozenset()
        self.started = False
        self.draining = False
        self.host = ""
        registry.on_batch = metrics.count_batch
        registry.on_restart = lambda label: metrics.restarts.labels(label).inc()

    async def handle(self, request: Request) -> Reply:
        """Answer one request."""
        parts = request.segments
        if request.method == "POST":
            if len(parts) == 3 and parts[2] in ("predict", "invocations"):
                request.require_token(self.tokens)
                return await self.ask(request, parts[0], parts[1], parts[2])
            if parts == ["invocations"]:
                request.require_token(self.tokens)
                name, version = self.choose(request)
                return await self.ask(request, name, version, "invocations")
        return self.look(request, parts)

    async def ask(self, request: Request, name: str, version: str, verb: str) -> Reply:
        """Ask a model."""
        began = time.perf_counter()
        label = "unknown"
        try:
            body = await request.body(self.registry.settings.body_limit)
            served = self.registry.find(name, version) or await self.registry.await_model(
                name, version
            )
            label = served.spec.label
            status, answer = await self.forward(request, served, verb, body)
        except Problem as problem:
            self.metrics.count(label, problem.status, time.perf_counter() - began)
            raise
        self.metrics.count(label, status, time.perf_counter() - began)
        reply = Reply(status, answer)
        if served.spec.registered:
            reply.headers.append((b"x-model-version", served.spec.registered.encode()))
        return reply

    async def forward(
        self, request: Request, served: Served, verb: str, body: bytes
    ) -> tuple[int, bytes]:
        backend = served.backend
        if not isinstance(backend, ScriptPool):
            kind = frames.PREDICT
            if verb == "invocations":
                kind = frames.invocation(request.header(b"content-type"))
            return await backend.submit(kind, body)
        if verb == "invocations":
            raise Problem(
                400,
                f"{served.spec.label} is served by a script that prints; it has no rows to return.",
                expected=f"POST /{served.spec.label}/predict, or a scoring script that defines "
                "load(path) and predict(model, rows)",
            )
        document = rows.parse(body)
        if not rows.uses_scoring(document):
            raise Problem(
                400,
                f"{served.spec.label} is served by its scoring script; use_scoring must be true.",
                expected=rows.EXAMPLE,
            )
        found = rows.rows_of_predict(document)
        if served.spec.features and isinstance(document["scoring_args"], dict):
            rows.check_names(found, served.spec.features)
        return await backend.submit(document)

    def choose(self, request: Request) -> tuple[str, str]:
        """Return the model that /invocations without a name means."""
        query = request.query
        known = sorted(self.registry.index)
        fits = [
            key
            for key in known
            if query.get("model", key[0]) == key[0] and query.get("version", key[1]) == key[1]
        ]
        if len(fits) == 1:
            return fits[0]
        raise Problem(
            404 if not fits else 400,
            f"/invocations needs one model; {len(fits)} fit.",
            models=[f"{n}/{v}" for n, v in known],
            expected="POST /<model>/<version>/invocations, or ?model=…&version=…",
        )

    def look(self, request: Request, parts: list[str]) -> Reply:
        """Answer what is not a prediction."""
        path = "/".join(parts)
        if path in OPEN and request.method in ("GET", "HEAD"):
            return self.open(path, request)
        if path == "models" and request.method == "GET":
            request.require_token(self.tokens)
            return Reply.json({"models": self.registry.describe(), "host": self.host})
        known = path in OPEN or path in ("models", "invocations")
        if known or (len(parts) == 3 and parts[2] in ("predict", "invocations")):
            allow = "POST" if parts[-1] in ("predict", "invocations") else "GET"
            raise Problem(405, f"{request.method} is not for /{path}.", expected=f"{allow} /{path}")
        raise Problem(
            404,
            f"There is no {request.path} here.",
            expected=[
                "POST /<model>/<version>/predict",
                "POST /<model>/<version>/invocations",
                "GET /models",
                *sorted(set(OPEN.values())),
            ],
            models=sorted(f"{n}/{v}" for n, v in self.registry.index),
        )

    def open(self, path: str, request: Request) -> Reply:
        if path in ("health", "ping"):
            return self.health()
        if path == "metrics":
            self.metrics.models.set(len(self.registry.index))
            return Reply(200, self.metrics.text(), b"text/plain; version=0.0.4; charset=utf-8")
        if path == "openapi.json":
            return Reply.json(openapi.document(self.registry.describe()))
        return Reply.text(openapi.page(self.registry.describe()), "text/html; charset=utf-8")

    def health(self) -> Reply:
        """Tell whether requests may be sent here."""
        status = "draining" if self.draining else "ok" if self.started else "starting"
        body: dict[str, Any] = {
            "status": status,
            "models": len(self.registry.index),
            "broken": sum(bool(slot.error) for slot in self.registry.slots.values()),
        }
        return Reply.json(body, 200 if status == "ok" else 503)
