"""The panel's addresses below `<base_url>labs/`: a page, its data, its looks.

Whoever may use this Jupyter server may read them, nobody else. The page loads nothing from
elsewhere and its policy forbids it to. Reading is all it does, so there is nothing to forge.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, FileFindHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

from labrunner.panel.facts import Facts

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
            (f"{base}/static/(.*)", StaticHandler, {"path": [str(STATIC)]}),
        ],
    )
