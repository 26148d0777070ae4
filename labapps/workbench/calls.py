"""Calls of models: the access key names the model, the Bearer key authorises the caller.

A call goes to the replica with the fewest calls under way. One whose replica is gone before it
answered is sent to another replica, so a function may run twice and must have no effects. The row
of a call is on the disk before the caller has the answer.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from typing import Any

import orjson

from labapps.web.asgi import Problem, Reply, Request
from labapps.workbench.bench import Bench
from labapps.workbench.keys import Keys, User
from labapps.workbench.line import Lines
from labapps.workbench.manifest import PORT
from labapps.workbench.metrics import Row, page_size
from labapps.workbench.refusal import Refusal, forbidden, invalid, missing

__all__ = ["Calls", "bearer"]

BODY = 5 << 20
SECONDS = 35.0
PAUSE = 0.05


class Calls:
    """Answers POST /model and the metrics' verbs."""

    def __init__(self, bench: Bench, keys: Keys) -> None:
        self.bench, self.store, self.keys = bench, bench.store, keys
        self.busy: Counter[str] = Counter()
        self.models: dict[str, str] = {}
        self.asked: dict[str, int] = {}
        self.turns = itertools.count(1)
        self.lines = Lines(PORT, "/call")

    def close(self) -> None:
        self.lines.close()

    async def handle(self, request: Request) -> Reply:
        """Answer what is not below /api/v2."""
        verbs = {
            "/model": self.call,
            "/track-metrics": self.track,
            "/track-delayed-metrics": self.track_delayed,
            "/track-aggregate-metrics": self.track_aggregate,
            "/read-metrics": self.read,
        }
        if request.method != "POST":
            raise Refusal(12, f"{request.path} takes POST; found {request.method}.")
        return await verbs[request.path](request)

    async def call(self, request: Request) -> Reply:
        """Forward a call, record it, answer it."""
        try:
            body = await document(request)
            model = self.model(body)
            if model["auth_enabled"]:
                user = self.keys.user(bearer(request))
                self.require(user, model, "operator")
            if "request" not in body:
                raise invalid('The body is {"accessKey": …, "request": {…}}; request is missing.')
        except Problem as problem:
            return refused(problem.status, str(problem))
        began, number = milliseconds(), str(uuid.uuid4())
        status, answer, crn = await self.forward(model["id"], orjson.dumps(body["request"]))
        metrics = answer.pop("metrics", {})
        if crn:
            await self.bench.metrics.add(
                Row(number, crn, began, milliseconds(), status == 200, metrics)
            )
        about = {"uuid": number, "model_deployment_crn": crn}
        if status != 200:
            return refused(status, str(answer.get("error")), **about)
        response = {"prediction": answer["prediction"]} | about
        return Reply.json({"success": True, "response": response})

    def model(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the model that an access key names."""
        key = str(body.get("accessKey") or body.get("access_key") or "")
        number = self.models.get(key)
        found = self.store.get("model", number) if number else None
        if found is None:
            matches = self.store.find("model", access_key=key) if key else []
            if not matches:
                raise missing("accessKey names no model; GET …/models/<id> has its access_key.")
            found = matches[0]
            self.models[key] = found["id"]
        return found

    def require(self, user: User, model: dict[str, Any], level: str) -> None:
        """Refuse a caller without this permission in the model's project."""
        held = self.bench.permission(user, model["of"])
        if held not in ({"operator", "write", "admin"} if level == "operator" else {"read"}):
            raise forbidden(
                f"{user.name} may not call {model['name']}; this needs the permission operator."
            )

    async def forward(self, model: str, body: bytes) -> tuple[int, dict[str, Any], str]:
        """Send a call to a replica of the model's active deployment; return its answer."""
        end = time.monotonic() + SECONDS
        tried: set[str] = set()
        crn = ""
        while True:
            record = self.store.get("model", model) or {}
            deployment = record.get("active_deployment_id", "")
            if not deployment:
                text = "The model is not deployed; deploy a build: POST …/deployments."
                return 503, {"error": text}, ""
            crn = self.bench.crn(deployment)
            choices = [a for a in self.bench.replicas.get(deployment, []) if a not in tried]
            if choices:
                address = self.next(choices)
                try:
                    return *(await self.send(address, body, end)), crn
                except TimeoutError:
                    return 504, {"error": f"No answer within {SECONDS:g} s."}, crn
                except OSError:
                    tried.add(address)
                    self.bench.wake()
                    continue
                finally:
                    self.busy[address] -= 1
                    if not self.busy[address]:
                        del self.busy[address]
            if time.monotonic() > end:
                return 503, {"error": f"No replica was ready for {SECONDS:g} s."}, crn
            await asyncio.sleep(PAUSE)
            tried.clear()

    def next(self, choices: list[str]) -> str:
        """Take the replica with the fewest calls; among equals the one that waited longest."""
        address = min(choices, key=lambda a: (self.busy[a], self.asked.get(a, 0)))
        self.busy[address] += 1
        self.asked[address] = next(self.turns)
        return address

    async def send(self, address: str, body: bytes, end: float) -> tuple[int, dict[str, Any]]:
        seconds = max(0.1, end - time.monotonic())
        status, content = await self.lines.post(address, body, seconds)
        try:
            found: dict[str, Any] = orjson.loads(content)
        except orjson.JSONDecodeError:
            text = f"The replica answered {status} without JSON: {content[:200]!r}"
            return 500, {"error": text}
        return status, found

    async def track(self, request: Request) -> Reply:
        """Record a call that was made elsewhere."""
        body = await self.authorised(request)
        began, ended = moment(body, "startTimestampMs"), moment(body, "endTimestampMs")
        number = str(body.get("predictionUuid") or uuid.uuid4())
        row = Row(number, text(body, "modelDeploymentCrn"), began, ended, True, table(body))
        await self.bench.metrics.add(row)
        return Reply.json({"predictionUuid": number})

    async def track_delayed(self, request: Request) -> Reply:
        body = await self.authorised(request)
        await self.bench.metrics.merge(text(body, "predictionUuid"), table(body))
        return Reply.json({})

    async def track_aggregate(self, request: Request) -> Reply:
        body = await self.authorised(request)
        began, ended = moment(body, "startTimestampMs"), moment(body, "endTimestampMs")
        crn = text(body, "modelDeploymentCrn")
        await self.bench.metrics.aggregate(crn, began, ended, table(body))
        return Reply.json({})

    async def read(self, request: Request) -> Reply:
        """Return calls in a window, a page at a time."""
        body = await self.authorised(request)
        token = str(body.get("page_token") or "0")
        if not (token.isascii() and token.isdigit() and len(token) < 19):
            raise invalid("page_token is not one of this list; repeat next_page_token.")
        found = await self.bench.metrics.read(
            text(body, "modelDeploymentCrn"),
            moment(body, "startTimestampMs", None),
            moment(body, "endTimestampMs", None),
            int(token),
            page_size(body.get("page_size")),
        )
        return Reply.json(found)

    async def authorised(self, request: Request) -> dict[str, Any]:
        """Return the body of a request whose user may see the deployment it is about."""
        user = self.keys.user(bearer(request))
        body = await document(request)
        crn = str(body.get("modelDeploymentCrn") or "")
        if not crn and "predictionUuid" in body:
            crn = await self.bench.metrics.crn(str(body["predictionUuid"]))
        deployment = self.store.get("deployment", crn.rpartition("/")[2])
        model = self.store.get("model", deployment["model_id"]) if deployment else None
        if model is None or crn != self.bench.crn(crn.rpartition("/")[2]):
            raise missing(f"There is no deployment {crn!r}; the answer of a call names it.")
        if self.bench.permission(user, model["of"]) is None:
            raise forbidden(f"{user.name} has no permission in the project of {crn}.")
        return body


def bearer(request: Request) -> str:
    """Return the key of a request: after Bearer, or alone as older clients send it."""
    found = request.header(b"authorization").strip()
    return found[7:].strip() if found.lower().startswith("bearer ") else found


async def document(request: Request) -> dict[str, Any]:
    """Return a body that is a JSON object; an empty one is an empty object."""
    raw = await request.body(BODY)
    try:
        found = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise invalid("The body must be a JSON object.")
    return found


def refused(status: int, message: str, **about: str) -> Reply:
    """Answer a call that failed."""
    more = {"response": about} if about.get("model_deployment_crn") else {}
    return Reply.json({"success": False, "errors": message, **more}, status)


def milliseconds() -> int:
    return int(time.time() * 1000)


def text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"{name} is missing in the body.")
    return value


def moment(body: dict[str, Any], name: str, default: int | None = 0) -> Any:
    """Return milliseconds since 1970; without a default for none, now."""
    value = body.get(name)
    if value is None:
        return milliseconds() if default == 0 else default
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:18])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise invalid(f"{name} must be milliseconds since 1970; found {value!r}.")
    return value


def table(body: dict[str, Any]) -> dict[str, Any]:
    value = body.get("metrics")
    if not isinstance(value, dict) or not value:
        raise invalid('metrics must be an object with at least one field, such as {"truth": 1}.')
    return value
