"""The admission webhook: an HTTPS server the API server asks about every write."""

from __future__ import annotations

import base64
import logging
import ssl
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from labsandbox.client import ClientError
from labsandbox.kubedirector.admission.app import judge_app
from labsandbox.kubedirector.admission.cluster import judge_cluster, judge_early
from labsandbox.kubedirector.admission.config import judge_claim, judge_config
from labsandbox.kubedirector.admission.gather import Gatherer
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.admission.shape import faults
from labsandbox.kubedirector.admission.verdict import Request, Verdict
from labsandbox.kubedirector.install import PATH
from labsandbox.kubedirector.model import Object

log = logging.getLogger(__name__)

_LARGEST_BODY = 16 * 1024 * 1024


class Webhook:
    """Answers AdmissionReviews."""

    def __init__(self, gatherer: Gatherer, codes: Codes) -> None:
        self.gatherer = gatherer
        self.codes = codes
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """Listen; return the port."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_post(PATH, self._validate)
        app.router.add_get("/healthz", _healthz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self.port

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def judge(self, body: Object) -> Verdict:
        """Return the verdict on the request of an AdmissionReview."""
        request = Request.from_review(body)
        kind = body["kind"]["kind"]
        if request.operation in ("CREATE", "UPDATE"):
            parts = ("status",) if request.subresource == "status" else ("spec", "status")
            if wrong := faults(kind, request.obj, *parts):
                hint = f"`kubectl explain {kind.lower()}` shows what belongs there."
                return Verdict([f"{', '.join(wrong)}. {hint}"])
        if kind == "KubeDirectorCluster":
            early = judge_early(request, self.codes)
            if early is not None:
                return early
            return judge_cluster(request, await self.gatherer.for_cluster(request))
        if kind == "KubeDirectorApp":
            return judge_app(request, self.gatherer.for_app(request))
        if kind == "KubeDirectorConfig":
            world = await self.gatherer.for_config(request)
            verdict = judge_config(request, world, self.codes)
            if request.subresource == "status":
                verdict.patches = []
            return verdict
        if kind == "PersistentVolumeClaim":
            return judge_claim(request, self.gatherer.for_claim(request))
        return Verdict()

    async def answer(self, body: Object) -> Verdict:
        """Judge a request; whatever it holds, there is a verdict."""
        try:
            return await self.judge(body)
        except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            return Verdict([f"KubeDirector could not look up what it has to check: {error}"])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            log.exception("%s %s cannot be judged", body["kind"]["kind"], body.get("name"))
            what = f"{type(error).__name__}: {error}"
            return Verdict(
                [
                    f"KubeDirector cannot judge this object ({what}). This is a bug in labsandbox; "
                    "please report it with the output of `labsandbox logs`."
                ]
            )

    async def _validate(self, request: web.Request) -> web.Response:
        review = orjson.loads(await request.read())
        body = review["request"]
        answer = {
            "apiVersion": review["apiVersion"],
            "kind": "AdmissionReview",
            "response": make_response(body["uid"], await self.answer(body)),
        }
        return web.json_response(answer, dumps=lambda value: orjson.dumps(value).decode())


def make_response(uid: str, verdict: Verdict) -> dict[str, Any]:
    """Return the response part of an AdmissionReview."""
    if verdict.errors:
        return {"uid": uid, "allowed": False, "status": {"message": verdict.message}}
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if verdict.patches:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(verdict.patches)).decode()
    return response


async def _healthz(request: web.Request) -> web.Response:
    return web.Response(text="ok")
