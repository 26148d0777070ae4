"""The attendance service: takes learners' progress, shows the instructor who needs her.

Run by a JupyterHub as a managed service (`python -m labclass.attendance`), on one host
or on Kubernetes. The hub says who somebody is, by token or by sign-in; nothing that a learner
sends names a learner. LABS_CLASS names the folder to keep things in; class.json there names the
class. Instructors are those of class.json, the hub's group `instructors` and its administrators.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado import web
from tornado.httpserver import HTTPServer

from labclass import ledger, page, roll
from labclass.ledger import MOST_BYTES, BadReport, Ledger
from labclass.roll import Course
from labclass.roster import Folder, read_facts
from labpanel import standing
from labrunner import curriculum as curricula
from labrunner import files
from labrunner.curriculum import Curriculum
from labrunner.errors import LabError

GROUP = "instructors"
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MOST_READ = 64 << 20  # and forgotten; who sends more is cut off
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
log = logging.getLogger("labclass.attendance")


class NotRunByAHub(LabError):
    """The service was started by hand."""


def course_of(curriculum: Curriculum) -> Course:
    """Return the labs and the checkpoints their notebooks hold."""
    found = [
        (lab.id, lab.title, standing.checkpoints(curriculum.notebook(lab)))
        for lab in curriculum.labs
    ]
    return Course(tuple(one for one in found if one[2]))


@dataclass(frozen=True)
class Room:
    """What the handlers share."""

    folder: Folder
    course: Course
    base: str

    @property
    def ledger(self) -> Ledger:
        """Return where reports are kept."""
        return Ledger(self.folder.attendance)

    def is_instructor(self, user: dict[str, Any]) -> bool:
        """Tell whether somebody may see everybody."""
        leaders = read_facts(self.folder).get("instructors", ())
        groups = user.get("groups") or ()
        return bool(user.get("admin")) or user["name"] in leaders or GROUP in groups

    def view(self, user: dict[str, Any]) -> page.View:
        """Look at all that this user may see."""
        now, entries = datetime.now(UTC), self.ledger.entries()
        if not self.is_instructor(user):
            return page.view([user["name"]], entries, self.course, now)
        facts = read_facts(self.folder)
        names = {str(one["name"]) for one in facts.get("students", ())} | set(entries)
        names -= set(facts.get("instructors", ()))
        return page.view(names, entries, self.course, now)


class Handler(HubOAuthenticated, web.RequestHandler):  # type: ignore[misc]
    """What every answer has in common."""

    def initialize(self, room: Room | None = None) -> None:
        """Remember what the handlers share."""
        if room is not None:
            self.room = room

    def set_default_headers(self) -> None:
        """Keep the pages to this site, and out of caches."""
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    async def prepare(self) -> None:
        """Ask the hub who this is without holding up anybody else's request."""
        await self.hub_auth.get_user(self, sync=False)

    @property
    def frame(self) -> page.Frame:
        """Return what every page carries: whose it is, and the proof that it is ours.

        Learners' servers share this site: a page of theirs that an instructor opens has no proof,
        so the hub's own check keeps it from reading the class.
        """
        return page.Frame(
            self.room.base, self.current_user["name"], self.xsrf_token.decode("utf-8")
        )

    def write_error(self, status_code: int, **more: Any) -> None:
        """Say what is wrong in a sentence."""
        error = (more.get("exc_info") or (None, None))[1]
        said = getattr(error, "log_message", None) or getattr(error, "reason", None)
        self.set_header("Content-Type", "application/json")
        message = str(said or self._reason).replace("%%", "%")  # as tornado keeps it
        self.finish(json.dumps({"status": status_code, "message": message}))


class Page(Handler):
    """The page, everybody's or one's own."""

    @web.authenticated
    def get(self) -> None:
        """Show what this user may see."""
        user, room = self.current_user, self.room
        seen = room.view(user)
        if room.is_instructor(user):
            sort = self.get_query_argument("sort", roll.SORTS[0])
            self.finish(page.of_class(seen, sort, self.frame))
        else:
            self.finish(page.of_learner(seen.rows[0], seen.at, self.frame))


class Learner(Handler):
    """One learner's page, for the instructor and for that learner."""

    @web.authenticated
    def get(self, name: str) -> None:
        """Show one learner; others' names are unknown to learners."""
        seen = self.room.view(self.current_user)
        found = next((row for row in seen.rows if row.name == name), None)
        if found is None:
            raise web.HTTPError(404, "Nobody of that name is in what you may see.")
        self.finish(page.of_learner(found, seen.at, self.frame))


@web.stream_request_body
class Progress(Handler):
    """Progress as data: sent by learners' servers, read by whoever may see it."""

    async def prepare(self) -> None:
        """Begin with nothing."""
        self._body = bytearray()
        await super().prepare()

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body; of one that is too large no more than shows it is.

        The rest is read and forgotten: a sender, or a proxy, hears an answer only at the end.
        """
        self._body += chunk[: MOST_BYTES + 1 - len(self._body)]

    def get(self) -> None:
        """Answer as JSON what the page shows; nobody is sent to a form."""
        user = self.current_user
        if user is None:
            raise web.HTTPError(401, "Sign in at the hub, or send a token of yours.")
        seen = self.room.view(user)
        self.finish(page.as_json(seen, self.room.is_instructor(user)))

    async def post(self) -> None:
        """Keep the progress of whoever's token this is."""
        token = self.hub_auth.get_token(self, in_cookie=False)
        user = await self.hub_auth.user_for_token(token, sync=False) if token else None
        if user is None or user.get("kind", "user") != "user":
            raise web.HTTPError(
                403,
                "Expected the token of a user of this hub in the header Authorization, found none "
                "that the hub knows. Send `Authorization: token $JUPYTERHUB_API_TOKEN`.",
            )
        if len(self._body) > MOST_BYTES:
            raise web.HTTPError(
                413,
                f"Expected at most {MOST_BYTES} bytes, found more. Send progress.json alone.",
            )
        try:
            report = ledger.read(bytes(self._body))
        except BadReport as error:
            raise web.HTTPError(400, str(error)) from error
        self.room.ledger.keep(user["name"], report)
        self.finish({"kept": user["name"]})


class Static(web.RequestHandler):
    """The style and the script of the pages: the same for everybody."""

    def get(self, name: str) -> None:
        """Answer with a file of ours."""
        self.set_header("Content-Type", _KINDS[Path(name).suffix])
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(page.static(name))


def application(room: Room) -> web.Application:
    """Return the web application below the service's prefix."""
    share = {"room": room}
    return web.Application(
        [
            (room.base, Page, share),
            (f"{room.base}progress", Progress, share),
            (f"{room.base}learner/([^/]+)", Learner, share),
            (f"{room.base}static/(attendance\\.(?:css|js))", Static),
            (f"{room.base}oauth_callback", HubOAuthCallbackHandler),
            (room.base.rstrip("/"), web.RedirectHandler, {"url": room.base}),
        ],
        cookie_secret=_secret(room.folder.attendance),
        log_function=_log,
    )


def _secret(folder: Path) -> str:
    """Return what signs the cookies: kept, so that a restart signs nobody out."""
    file = folder / "cookie_secret"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_private(file, os.urandom(32).hex())
    return file.read_text("utf-8")


def _log(handler: web.RequestHandler) -> None:
    if handler.get_status() >= 500:
        log.error("%s %s: %s", handler.request.method, handler.request.path, handler.get_status())


async def serve(room: Room, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve until told to stop."""
    server = HTTPServer(application(room), max_body_size=_MOST_READ, xheaders=True)
    server.listen(port, host)
    try:
        await stop.wait()
    finally:
        server.stop()
        await server.close_all_connections()


async def _until_stopped(room: Room, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(room, host, port, stop)


def main(environment: dict[str, str] | os._Environ[str] = os.environ) -> int:
    """Run the service as a hub starts it."""
    logging.basicConfig(level=logging.WARNING, format="attendance: %(message)s")
    try:
        url, folder = environment.get("JUPYTERHUB_SERVICE_URL"), environment.get("LABS_CLASS")
        if not url or not folder:
            raise NotRunByAHub(
                "Expected JUPYTERHUB_SERVICE_URL and LABS_CLASS in the environment, found "
                f"{'neither' if not url and not folder else 'one of them'}. A hub starts this "
                "service: type `labs class --students 12`."
            )
        base = environment.get("JUPYTERHUB_SERVICE_PREFIX", "/services/attendance/")
        room = Room(Folder(Path(folder)), course_of(curricula.load()), base)
    except LabError as error:
        print(f"attendance: {error}", file=sys.stderr)
        return 1
    where = urlsplit(url)
    asyncio.run(_until_stopped(room, where.hostname or "127.0.0.1", where.port or 80))
    return 0


if __name__ == "__main__":
    sys.exit(main())
