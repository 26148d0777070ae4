"""A replica of a model: loads a build's function and answers calls, one at a time.

`python -m labapps.workbench.replica <digest> <file:function>`. A function with the attribute
`concurrent = True` may be called from several threads at once. One with `quick = True` is called in
the server's own thread: it must answer within milliseconds, and has no time limit. Any other call
that exceeds the limit cannot be ended inside Python, so the replica answers 504 and ends;
Kubernetes starts it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson
import uvloop

from labapps.member import log as logs
from labapps.member.place import Place
from labapps.web.asgi import Problem, Reply, Request
from labapps.web.server import bind, number, reply_with, serve
from labapps.workbench import environment, program, track
from labapps.workbench.function import load, warm
from labapps.workbench.layout import Layout
from labapps.workbench.manifest import PORT

__all__ = ["Answer", "Replica", "ask"]

log = logging.getLogger(__name__)
BODY = 5 << 20
THREADS = 16
CALLER = (ValueError, KeyError, TypeError, IndexError)


@dataclass(frozen=True)
class Answer:
    """What came of a call."""

    status: int
    body: bytes


def ask(function: Callable[[Any], Any], request: Any) -> Answer:
    """Call a function; whatever it does, the next call is served."""
    with track.call() as metrics:
        try:
            value = function(request)
        except BaseException as error:
            log.warning("%s", "".join(traceback.format_exception(error)).strip())
            status = 422 if isinstance(error, CALLER) else 500
            return failure(status, f"The function raised {type(error).__name__}: {error}")
    try:
        # Not orjson: it would turn NaN into null without a word.
        text = json.dumps({"prediction": value, "metrics": metrics}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        kind = f"{type(value).__module__}.{type(value).__name__}"
        return failure(
            500,
            f"The function returned a {kind} that is not JSON ({error}). Return dictionaries, "
            "lists, texts and finite numbers; for an array, array.tolist().",
        )
    return Answer(200, text.encode())


def failure(status: int, message: str) -> Answer:
    return Answer(status, orjson.dumps({"error": message.encode("utf-8", "replace").decode()}))


class Replica:
    """A function, and the threads that may call it."""

    def __init__(self, function: Callable[[Any], Any], seconds: float) -> None:
        self.function, self.seconds = function, seconds
        many = bool(getattr(function, "concurrent", False))
        self.is_quick = bool(getattr(function, "quick", False))
        self.threads = ThreadPoolExecutor(THREADS if many else 1)

    async def handle(self, request: Request) -> Reply:
        """Answer a call or a probe."""
        if request.path == "/ready":
            return Reply.text("ready")
        if request.path != "/call" or request.method != "POST":
            raise Problem(404, "Only POST /call and GET /ready are answered.")
        body = await request.body(BODY)
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Problem(400, f"The request is not JSON: {error}.") from error
        if self.is_quick:
            answer = ask(self.function, value)
            return Reply(answer.status, answer.body)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self.threads, ask, self.function, value)
        try:
            answer = await asyncio.wait_for(asyncio.shield(work), self.seconds)
        except TimeoutError:
            loop.call_later(0.1, os._exit, 1)
            answer = failure(504, f"The function ran longer than {self.seconds:g} s.")
        return Reply(answer.status, answer.body)


def main() -> None:
    logs.set_up()
    place, layout = Place.from_env(), Layout.from_env()
    digest, target = sys.argv[1:]
    program.place_here(layout)
    os.chdir(layout.build(digest))
    try:
        packages = environment.prepare(layout, layout.build(digest))
    except environment.EnvironmentFailed as problem:
        sys.exit(str(problem))
    if packages is not None:
        sys.path.insert(0, str(packages))
    function = load(layout.build(digest), target)
    warm(function)
    replica = Replica(function, number("CALL_SECONDS", 30))
    sockets = bind(place.listen, [place.port(PORT)])
    log.info("%s of build %s answers on port %d", target, digest, PORT)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(reply_with(replica.handle), sockets, grace=35))
    os._exit(0)  # a thread of a call that was given up would keep the process


if __name__ == "__main__":
    main()
