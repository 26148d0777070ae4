"""The panel's addresses below `<base_url>labs/`: a page, its data, its looks.

Whoever may use this Jupyter server may read them, nobody else. The page loads nothing from
elsewhere and its policy forbids it to. What changes something is a POST, which Jupyter takes with
its own cookie's proof or with the token only.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, FileFindHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

from labpanel import evidence, finish
from labpanel.facts import Facts, answered
from labspark.place import user

STATIC = Path(__file__).with_name("static")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class PageHandler(JupyterHandler):
    """The page for a browser tab."""

    auth_resource = "labs"

    @web.authenticated
    @authorized
    def get(self) -> None:
        """Send the page; every address in it is relative, so a base_url needs no mention."""
        if not self.request.path.endswith("/"):
            query = f"?{self.request.query}" if self.request.query else ""
            self.redirect(f"{self.request.path}/{query}")
            return
        self.add_header("Content-Security-Policy", POLICY)  # beside the server's: both hold
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")  # the address may hold a token
        self.finish((STATIC / "page.html").read_text("utf-8"))


class StateHandler(APIHandler):
    """The facts, as JSON."""

    auth_resource = "labs"
    _track_activity = False  # a page that watches is no learner at work: idle servers are culled

    def initialize(self, facts: Facts) -> None:
        """Take the facts of this server."""
        self.facts = facts

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Send the state."""
        self.set_header("Cache-Control", "no-store")
        self.finish(await self.facts.state())


class ObjectsHandler(JupyterHandler):
    """What the learner's steps made on the platform."""

    auth_resource = "labs"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Send the page."""
        from labpanel import objects  # the client of Kubernetes takes half a second

        repository = os.environ.get("PROJECT_REPO")
        place = Path(repository) if repository else None
        sections, trouble = await asyncio.to_thread(objects.look, place, user())
        self.add_header("Content-Security-Policy", POLICY)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        template = evidence.template("objects.html.j2")
        self.finish(template.render(sections=sections, trouble=trouble, proxy=objects.PROXY))


class AnswersHandler(APIHandler):
    """Takes the answer to a question of a lab; the server's own check refuses a forged request."""

    auth_resource = "labs"

    def initialize(self, facts: Facts) -> None:
        """Take the facts of this server."""
        self.facts = facts

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Note the answer and say whether it is right."""
        body = self.get_json_body() or {}
        lab, question, number = (body.get(name) for name in ("lab", "question", "answer"))
        is_right = None
        if isinstance(lab, str) and isinstance(question, str) and isinstance(number, int):
            root = self.facts.root
            is_right = await asyncio.to_thread(answered, root, lab, question, number)
        if is_right is None:
            raise web.HTTPError(
                400,
                'Expected {"lab": "core/01", "question": its text, "answer": 0} of a question that '
                "the lab asks. A notebook of an older release may ask another one: "
                "`labs open LAB --start-over` brings the present one.",
            )
        self.finish({"right": is_right})


class StaticHandler(FileFindHandler):
    """The page's script and style, which say nothing of anybody."""

    # A cache of its own: the parent's is shared by all folders, and knows files by name alone.
    _static_paths: dict[str, str] = {}  # noqa: RUF012


def add(app: Any, facts: Facts) -> None:
    """Put the addresses into a Jupyter server."""
    base = re.escape(url_path_join(app.settings["base_url"], "labs"))
    app.add_handlers(
        ".*$",
        [
            (f"{base}/?", PageHandler),
            (f"{base}/state", StateHandler, {"facts": facts}),
            (f"{base}/objects/", ObjectsHandler),
            (f"{base}/answers", AnswersHandler, {"facts": facts}),
            *finish.routes(base, facts, POLICY),
            (f"{base}/static/(.*)", StaticHandler, {"path": [str(STATIC)]}),
        ],
    )
