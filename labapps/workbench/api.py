"""The HTTP side of the workbench: finds the handler of a path, checks the key, words the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import aiohttp

from labapps.web import openapi
from labapps.web.asgi import Problem, Reply, Request
from labapps.workbench import swagger
from labapps.workbench.ask import Ask, Route
from labapps.workbench.bench import Bench
from labapps.workbench.calls import Calls, bearer, document
from labapps.workbench.database import DatabaseGone
from labapps.workbench.deployments import DEPLOYED, Deployments
from labapps.workbench.jobs import Jobs
from labapps.workbench.keys import ADMIN, Keys, public
from labapps.workbench.kube import KubeError
from labapps.workbench.models import Models
from labapps.workbench.overview import Overview
from labapps.workbench.page import listed
from labapps.workbench.projects import Projects
from labapps.workbench.refusal import Refusal, forbidden, gateway, invalid, missing
from labapps.workbench.registry import Registry
from labapps.workbench.runs import Runs

__all__ = ["Api", "match"]

BASE = "/api/v2"
CALLS = frozenset(
    {"/model", "/track-metrics", "/track-delayed-metrics", "/track-aggregate-metrics",
     "/read-metrics"}
)  # fmt: skip
KINDS = {
    "workbench_calls_total": "counter",
    "workbench_calls_failed_total": "counter",
    "workbench_call_seconds_total": "counter",
    "workbench_replicas": "gauge",
    "workbench_replicas_ready": "gauge",
    "workbench_aggregate": "gauge",
}
"""What /metrics has; an aggregate is what somebody measured in a window, such as a drift."""
NAME, MOST_AGGREGATES = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}"), 20
NOT_HERE = {
    "applications": "There are no applications here; a model that is deployed answers calls.",
    "usage": "Usage is not counted here; `kubectl top pod` shows what pods use now.",
    "workloads": "Runs are at GET /api/v2/projects/<id>/jobs/<id>/runs.",
    "experiments": "Experiments are not served here; use MLflow's own API.",
}


class Api:
    """All routes of a workbench."""

    def __init__(self, bench: Bench, keys: Keys) -> None:
        self.bench, self.keys = bench, keys
        self.calls, self.pages = Calls(bench, keys), Overview(bench, keys)
        jobs, models = Jobs(bench), Models(bench)
        self.projects = Projects(bench)
        groups: list[Any] = [self.projects, jobs, Runs(bench, jobs), models]
        groups += [Deployments(bench, models), Registry(bench)]
        self.routes: list[Route] = [r for group in groups for r in group.routes()]
        self.routes += self.own_routes()
        self.document = swagger.document(self.routes)

    def own_routes(self) -> list[Route]:
        keys, key = "/users/{username}/v2_keys", "/users/{username}/v2_keys/{key_id}"
        return [
            Route("GET", "/runtimes", "list_runtimes", "List runtimes", self.runtimes,
                  is_list=True),
            Route("GET", "/runtimeaddons", "list_runtime_addons", "List add-ons; there are none",
                  self.addons, is_list=True),
            Route("POST", keys, "create_v2_key", "Make an API key; only this answer has it",
                  self.create_key, ("expiry_date", "comments")),
            Route("GET", keys, "list_v2_keys", "List API keys", self.list_keys),
            Route("DELETE", key, "delete_v2_key", "Delete an API key", self.delete_key),
            Route("POST", "/auth/validate_key", "validate_key", "Say whose key this is",
                  self.validate),
        ]  # fmt: skip

    async def handle(self, request: Request) -> Reply:
        """Answer a request; every error has the form of grpc-gateway."""
        try:
            return await self.dispatch(request)
        except Problem as problem:
            raise gateway(problem) from None
        except KubeError as error:
            code = {400: 3, 403: 7, 409: 6, 422: 3, 429: 8}.get(error.status, 14)
            raise Refusal(code, f"{error}. Nothing was changed here.") from error
        except DatabaseGone as error:
            raise Refusal(14, f"{error} Nothing was stored; ask again later.") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            text = f"Kubernetes does not answer ({error or type(error).__name__}); ask again later."
            raise Refusal(14, text) from error

    async def dispatch(self, request: Request) -> Reply:
        path = request.path
        if path in CALLS:
            return await self.calls.handle(request)
        if path in ("/api/v2/swagger.json", "/swagger.json", "/openapi.json"):
            return Reply.json(self.document)
        if path in ("/", "/sign-in") or path.startswith("/page/"):
            return await self.pages.handle(request)
        if path == "/docs":
            return Reply.text(openapi.page(self.document), "text/html; charset=utf-8")
        if path == "/health":
            return Reply.json({"status": "ok"})
        if path == "/metrics":
            return Reply.text(self.prometheus())
        if not path.startswith(BASE + "/"):
            raise missing(f"There is no {path}; the API is below {BASE}, its description at /docs.")
        user = self.keys.user(bearer(request))
        route, params = self.find(request)
        ask = Ask(user, params, request.query, raw=request)
        if request.method in ("POST", "PATCH", "PUT") and not route.is_raw:
            ask.body = await document(request)
        found = await route.handler(ask)
        return found if isinstance(found, Reply) else Reply.json(found)

    def find(self, request: Request) -> tuple[Route, dict[str, str]]:
        """Return the route of a request and the names in its path."""
        segments = request.segments[2:]
        if any("\0" in segment for segment in segments):
            raise invalid("A path holds no NUL.")
        verbs = []
        for route in self.routes:
            params = match(route.path, segments)
            if params is not None:
                if route.verb == request.method:
                    return route, params
                verbs.append(route.verb)
        if verbs:
            raise Refusal(12, f"{request.path} takes {', '.join(verbs)}; found {request.method}.")
        for word, text in NOT_HERE.items():
            if word in segments:
                raise Refusal(12, text)
        raise missing(f"There is no {request.path}; {BASE}/swagger.json lists what there is.")

    async def runtimes(self, ask: Ask) -> Any:
        found, token = listed(self.bench.runtimes, ask.page)
        return {"runtimes": found, "next_page_token": token}

    async def addons(self, ask: Ask) -> Any:
        found, token = listed([], ask.page)
        return {"runtime_addons": found, "next_page_token": token}

    async def create_key(self, ask: Ask) -> Any:
        name = self._owner(ask)
        if name == ADMIN and not ask.user.is_admin:
            raise forbidden("Only the administrator makes keys of the administrator.")
        return self.keys.create(name, ask.text("expiry_date", ""), ask.text("comments", ""))

    async def list_keys(self, ask: Ask) -> Any:
        found = self.bench.store.find("key", self._owner(ask))
        return {"keys": [public(key) for key in found]}

    async def delete_key(self, ask: Ask) -> Any:
        owner = self._owner(ask)
        found = self.bench.need("key", ask.params["key_id"])
        if found["user"] != owner:
            raise missing(f"{owner} has no key {found['id']}; GET …/v2_keys lists them.")
        self.keys.delete(found)
        return {}

    async def validate(self, ask: Ask) -> Any:
        return {"valid": True, "username": ask.user.name}

    def _owner(self, ask: Ask) -> str:
        name = ask.params["username"]
        if not ask.user.is_admin and name != ask.user.name:
            raise forbidden(f"{ask.user.name} manages own keys only: /users/{ask.user.name}/…")
        return name

    def prometheus(self) -> str:
        """Return calls, replicas and the newest aggregates as Prometheus reads them."""
        found: dict[str, list[str]] = {name: [] for name in KINDS}
        for crn, calls, failed, spent in self.bench.metrics.counts():
            label = f"{{{self._labels(crn)}}}"
            found["workbench_calls_total"].append(f"{label} {calls}")
            found["workbench_calls_failed_total"].append(f"{label} {failed}")
            found["workbench_call_seconds_total"].append(f"{label} {spent / 1000}")
        newest = self.bench.metrics.newest_aggregates()
        for record in self.bench.store.live("deployment"):
            if record["status"] != DEPLOYED:
                continue
            crn, ready = record["crn"], len(self.bench.replicas.get(record["id"], []))
            label = f"{{{self._labels(crn)}}}"
            found["workbench_replicas"].append(f"{label} {record['replicas']}")
            found["workbench_replicas_ready"].append(f"{label} {ready}")
            numbers = [
                (name, value)
                for name, value in newest.get(crn, {}).items()
                if NAME.fullmatch(name) and isinstance(value, int | float)
            ]
            found["workbench_aggregate"] += [
                f'{{{self._labels(crn)},name="{name}"}} {float(value)}'
                for name, value in numbers[:MOST_AGGREGATES]
            ]
        lines = []
        for name, kind in KINDS.items():
            lines += [f"# TYPE {name} {kind}", *(name + line for line in found[name])]
        return "\n".join(lines) + "\n"

    def _labels(self, crn: str) -> str:
        """Return what tells one deployment from others, and those of a project from others'."""
        deployment = self.bench.store.get("deployment", crn.rpartition("/")[2]) or {}
        model = self.bench.store.get("model", deployment.get("model_id", "")) or {}
        return f'model_deployment_crn="{crn}",project_id="{model.get("of", "")}"'


def match(path: str, segments: Sequence[str]) -> dict[str, str] | None:
    """Return the names that a path holds, or nothing when it is another route's.

    >>> match("/jobs/{job_id}/runs/{run_id}:stop", ["jobs", "1", "runs", "2:stop"])
    {'job_id': '1', 'run_id': '2'}
    >>> match("/files/{path}", ["files", "a", "b"])
    {'path': 'a\\x00b'}
    """
    words = path.strip("/").split("/")
    found: dict[str, str] = {}
    if words[-1] == "{path}":
        if len(segments) < len(words) - 1:
            return None
        rest = segments[len(words) - 1 :]
        found["path"] = "\0".join(rest)
        words, segments = words[:-1], segments[: len(words) - 1]
    if len(words) != len(segments):
        return None
    for word, segment in zip(words, segments, strict=True):
        if not word.startswith("{"):
            if word != segment:
                return None
            continue
        name, _, verb = word[1:].partition("}")
        if verb:
            if not segment.endswith(verb):
                return None
            segment = segment[: -len(verb)]
        elif segment.endswith((":stop", ":restart")):
            return None
        found[name] = segment
    return found
