"""The HTTP interface of the training engine: for learners, and for its own workers."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson

from labapps.member.login import Login
from labapps.queue.dispatch import Dispatcher
from labapps.queue.job import Job
from labapps.training import openapi, status
from labapps.training.submission import EXAMPLE, read_submission
from labapps.web import openapi as pages
from labapps.web.asgi import Problem, Reply, Request

__all__ = ["Api"]

log = logging.getLogger(__name__)
BODY = 4 << 20
REMEMBER = 600.0
MOST_PASSWORDS = 1000
NUMBER = re.compile("[0-9]{1,18}")


class Api:
    """Routes requests to the queue."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.tokens: frozenset[str] = frozenset()
        self.login: Login | None = None
        self.base = ""
        self.started = time.time()
        self._passwords: dict[str, float] = {}

    async def handle(self, request: Request) -> Reply:
        """Answer one request."""
        match request.method, request.segments:
            case "POST", ["train"]:
                return await self.submit(request)
            case (("GET" | "HEAD"), ["history"]):
                return self.newest(request)
            case (("GET" | "HEAD"), ["history", number, *rest]):
                return self.show(request, number, rest)
            case "DELETE", ["history", number]:
                return self.cancel(request, number)
            case "POST", ["history", number, "cancel"]:
                return self.cancel(request, number)
            case "POST", ["workers", host, "poll"]:
                return await self.poll(request, host)
            case "POST", ["workers", host, "jobs", number]:
                return await self.report(request, host, number)
            case (("GET" | "HEAD"), rest):
                return self.look(request, "/".join(rest))
        raise Problem(
            405 if request.path.rstrip("/") in ("/train", "/history") else 404,
            f"{request.method} {request.path} is not known.",
            expected=openapi.ROUTES,
        )

    # -- learners ---------------------------------------------------------------------------

    async def submit(self, request: Request) -> Reply:
        """Queue a job and say where to look for it."""
        request.require_token(self.tokens)
        user = await self.user(request)
        document = _object(await request.body(BODY))
        limits = self.dispatcher.limits
        fields = read_submission(document, limits, user)
        waiting = self.dispatcher.store.count_queued(fields["user"])
        if waiting >= limits.user_queued:
            raise Problem(
                429,
                f"{waiting} jobs of {fields['user']} wait already; at most {limits.user_queued}.",
                expected="cancel some (DELETE /history/<n>), or wait until some have run",
            )
        job = self.dispatcher.submit(fields)
        url = f"{self.base}/history/{job.id}"
        body = {"id": job.id, "status": job.status, "history_url": url, "log_url": f"{url}/logs"}
        return Reply.json(body | {"user": job.user}, 201, Location=f"/history/{job.id}")

    async def user(self, request: Request) -> str:
        """Return whose password came along, checked; empty when none did."""
        scheme, _, value = request.header(b"authorization").partition(" ")
        if scheme.lower() != "basic" or self.login is None:
            return ""
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Problem(400, "Authorization: Basic holds no base64 of user:password.") from error
        digest = hashlib.sha256(f"{user}\0{password}".encode()).hexdigest()
        if time.time() - self._passwords.get(digest, 0.0) < REMEMBER:
            return user
        try:
            known = await asyncio.to_thread(self.login.check, user, password)
        except OSError as error:
            raise Problem(503, f"The password cannot be checked now: {error}") from error
        if not known:
            raise Problem(
                401,
                f"HTTP/1.1 401 Unauthorized: the platform does not know {user} by this password.",
                expected="the password you sign in to the platform with",
            )
        self._passwords[digest] = time.time()
        return user

    def newest(self, request: Request) -> Reply:
        self._may_read(request)
        query = request.query
        limit = query.get("limit", "")
        count = int(limit) if NUMBER.fullmatch(limit) else 100
        jobs = self.dispatcher.store.last(
            min(count, 1000), query.get("user", ""), query.get("status", "")
        )
        return Reply.json([self.describe(job) for job in jobs])

    def show(self, request: Request, number: str, rest: list[str]) -> Reply:
        """Answer for one job: its state, its log, or both as they grow."""
        self._may_read(request)
        job = self.find(number)
        records = self.dispatcher.records
        if rest == ["logs"]:
            text = records.output(job.id, "stderr").decode("utf-8", "replace")
            return Reply.json({"logs": text})
        if rest == ["code"]:
            request.require_token(self.tokens)
            return Reply.text(self.program(job))
        if rest == ["stream"]:
            kind = b"application/x-ndjson"
            return Reply(200, kind=kind, stream=self.stream(job.id))
        if rest:
            raise Problem(
                404, f"A job has no {'/'.join(rest)}.", expected=["code", "logs", "stream"]
            )
        output = records.output(job.id, "stdout").decode("utf-8", "replace")
        return Reply.json([self.describe(job) | {"output": output}])

    def program(self, job: Job) -> str:
        """Return the source that the job ran; it is refused when it is not that any more."""
        try:
            text = (self.dispatcher.records.of(job.id) / "code.py").read_bytes()
        except OSError as error:
            raise Problem(410, f"The program of job {job.id} is gone: {error.strerror}.") from error
        if job.code_digest and hashlib.sha256(text).hexdigest() != job.code_digest:
            raise Problem(
                410,
                f"The program of job {job.id} was changed after it had been submitted.",
                expected=f"a code.py with sha256 {job.code_digest}",
            )
        return text.decode()

    def find(self, number: str) -> Job:
        job = self.dispatcher.store.get(int(number)) if NUMBER.fullmatch(number) else None
        if job is None:
            last = self.dispatcher.store.last(1)
            known = f"1 to {last[0].id}" if last else "none yet"
            raise Problem(404, f"There is no job {number}.", expected=f"a job number; {known}")
        return job

    def cancel(self, request: Request, number: str) -> Reply:
        request.require_token(self.tokens)
        return Reply.json([self.describe(self.dispatcher.cancel(self.find(number)))])

    def describe(self, job: Job) -> dict[str, Any]:
        """Return a job as learners see it."""
        return {
            "id": job.id,
            "name": job.name,
            "user": job.user,
            "args": job.args,
            "code_digest": job.code_digest,
            "status": job.status,
            "reason": job.reason,
            "log_url": f"{self.base}/history/{job.id}/logs",
            "folder": str(self.dispatcher.records.of(job.id)),
            "worker": job.worker,
            "attempts": job.attempts,
            "exit_code": job.exit_code,
            "submitted": job.submitted,
            "started": job.started or None,
            "finished": job.finished or None,
            "usage": job.usage,
        }

    async def stream(self, number: int) -> AsyncIterator[bytes]:
        """Yield a JSON line for each piece of output, the last with the final state."""
        records, offsets = self.dispatcher.records, {"stdout": 0, "stderr": 0}
        attempt = 0
        while True:
            changed = self.dispatcher.change(number)
            job = self.dispatcher.store.get(number)
            if job is None:
                return
            if job.attempts != attempt:
                attempt, offsets = job.attempts, dict.fromkeys(offsets, 0)
            for name, offset in offsets.items():
                with (
                    contextlib.suppress(FileNotFoundError),
                    (records.of(number) / f"{name}.txt").open("rb") as file,
                ):
                    file.seek(offset)
                    piece = file.read(1 << 20)
                    offsets[name] += len(piece)
                    if piece:
                        text = piece.decode("utf-8", "replace")
                        yield orjson.dumps({"stream": name, "text": text}) + b"\n"
            if job.is_final:
                yield orjson.dumps({"status": job.status, "reason": job.reason}) + b"\n"
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 5.0)

    def _may_read(self, request: Request) -> None:
        """Who reads bears the token, also in the published form `?auth=none`.

        Every tenant of the platform reaches this port; only members of this one read its token.
        """
        request.require_token(self.tokens)

    # -- workers ----------------------------------------------------------------------------

    async def poll(self, request: Request, host: str) -> Reply:
        """Answer a worker: a job, or jobs to end, or nothing after a few seconds."""
        request.require_token(self.tokens)
        body = _object(await request.body(BODY))
        incarnation = str(body["incarnation"])
        gone = asyncio.create_task(request.disconnected())

        def hang_up(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self.dispatcher.hang_up(host, incarnation)

        gone.add_done_callback(hang_up)
        try:
            answer = await self.dispatcher.poll(
                host, incarnation, int(body["slots"]), set(body["jobs"])
            )
        finally:
            gone.cancel()
        return Reply.json(answer)

    async def report(self, request: Request, host: str, number: str) -> Reply:
        """Take output and the end of a job from its worker."""
        request.require_token(self.tokens)
        body = _object(await request.body(BODY))
        job = self.dispatcher.owned(host, str(body["incarnation"]), int(number))
        if job is None:
            raise Problem(409, f"Job {number} is not {host}'s any more: end it.")
        for name in ("stdout", "stderr"):
            if body.get(name):
                self.dispatcher.records.append(job.id, name, int(body[f"{name}_at"]), body[name])
        if body.get("given_back"):
            self.dispatcher.give_back(job, str(body["given_back"]))
        elif body.get("done"):
            self.dispatcher.finish(job, body["done"])
        else:
            self.dispatcher.note(job.id)
        return Reply.json({"cancel": job.cancel})

    # -- everybody --------------------------------------------------------------------------

    def look(self, request: Request, path: str) -> Reply:
        """Answer what needs no token."""
        if path == "health":
            return Reply.json({"status": "ok", "slots": self.dispatcher.slots()})
        if path == "metrics":
            return Reply.text(status.metrics(self.dispatcher), "text/plain; version=0.0.4")
        if path == "openapi.json":
            return Reply.json(openapi.document())
        if path == "docs":
            return Reply.text(pages.page(openapi.document()), "text/html; charset=utf-8")
        if path in ("stats", "stats.json"):
            return Reply.json(status.describe(self.dispatcher))
        if path == "":
            page = status.page(self.dispatcher, jobs=request.bears(self.tokens))
            return Reply.text(page, "text/html; charset=utf-8")
        raise Problem(404, f"There is no {request.path} here.", expected=openapi.ROUTES)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}.", expected=EXAMPLE) from error
    if not isinstance(found, dict):
        raise Problem(400, "The body is not a JSON object.", expected=EXAMPLE)
    return found
