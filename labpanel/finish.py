"""The end of a workshop, `<base_url>labs/finish/<workshop>/`: results, take-away, survey.

The page is written by the server from progress and notebooks; the only thing it changes is the
learner's own answers to the survey.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from tornado import web

from labpanel import evidence, survey, takeaway
from labpanel.evidence import Evidence
from labpanel.facts import CHECKOUT, Facts, notebooks_below
from labrunner import curriculum
from labrunner.curriculum import Curriculum
from labrunner.errors import LabError, UnknownLab

PORTION = 1 << 20  # of a zip, sent at once


def routes(base: str, facts: Facts, policy: str) -> list[tuple[Any, ...]]:
    """Return the addresses below `base`, a regular expression."""
    share = {"facts": facts}
    return [
        (f"{base}/finish/([a-z0-9-]+)/", FinishHandler, {**share, "policy": policy}),
        (f"{base}/finish/([a-z0-9-]+)/take-away.zip", TakeAwayHandler, share),
        (f"{base}/finish/([a-z0-9-]+)/survey", SurveyHandler, share),
    ]


class Gathering:
    """What the handlers share: the labs, and the evidence of one workshop."""

    facts: Facts

    def initialize(self, facts: Facts) -> None:
        """Take the facts of this server."""
        self.facts = facts

    @property
    def notebooks(self) -> Path:
        """Return the learner's folder of notebooks."""
        return notebooks_below(self.facts.root) or CHECKOUT / "notebooks"

    def gather(self, workshop: str) -> tuple[Curriculum, Evidence]:
        """Return the labs and the evidence of a workshop."""
        labs = curriculum.load(CHECKOUT)
        try:
            return labs, evidence.gather(labs, workshop, self.notebooks)
        except UnknownLab as error:
            raise web.HTTPError(404, str(error)) from error


class FinishHandler(Gathering, JupyterHandler):
    """The page."""

    auth_resource = "labs"

    def initialize(self, facts: Facts, policy: str = "") -> None:
        """Take the facts of this server, and what the page may load."""
        super().initialize(facts)
        self.policy = policy

    @web.authenticated
    @authorized
    async def get(self, workshop: str) -> None:
        """Send the page."""
        labs, found = await asyncio.to_thread(self.gather, workshop)
        self.xsrf_token  # noqa: B018 - sets the cookie that the survey is sent with
        self.add_header("Content-Security-Policy", self.policy)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        page = evidence.template("finish.html.j2").render(
            found=found,
            following=self._following(labs, workshop),
            paces=survey.PACES,
            asked=survey.QUESTIONS,
            longest=survey.LONGEST,
            answers=survey.load().get(workshop, {}),
        )
        self.finish(page)

    def _following(self, labs: Curriculum, workshop: str) -> Iterable[tuple[str, str, str]]:
        """Return title, sentence and first notebook of the other workshops."""
        try:
            below = self.notebooks.relative_to(self.facts.root)
        except ValueError:
            below = None
        for one in labs.workshops:
            if one.id != workshop and (first := labs.labs_of(one.id)):
                path = "" if below is None else f"{(below / first[0].file).as_posix()}.ipynb"
                yield one.title, one.sentence, path


class TakeAwayHandler(Gathering, JupyterHandler):
    """The zip."""

    auth_resource = "labs"

    @web.authenticated
    @authorized
    async def get(self, workshop: str) -> None:
        """Write the zip and send it in portions."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{workshop}-take-away.zip"
            await asyncio.to_thread(self._write, workshop, path)
            self.set_header("Content-Type", "application/zip")
            self.set_header("Content-Disposition", f'attachment; filename="{path.name}"')
            self.set_header("Cache-Control", "no-store")
            with path.open("rb") as file:
                while portion := file.read(PORTION):
                    self.write(portion)
                    await self.flush()
        self.finish()

    def _write(self, workshop: str, path: Path) -> None:
        labs, found = self.gather(workshop)
        takeaway.write(labs, found, self.notebooks, path)


class SurveyHandler(Gathering, APIHandler):
    """The answers to the survey."""

    auth_resource = "labs"

    @web.authenticated
    @authorized
    async def post(self, workshop: str) -> None:
        """Keep the answers."""
        body = self.get_json_body() or {}
        self.gather(workshop)
        try:
            kept = survey.keep(workshop, *(body.get(name) for name in survey.QUESTIONS))
        except LabError as error:
            raise web.HTTPError(400, re.sub("%", "%%", str(error))) from error
        self.finish(kept)
