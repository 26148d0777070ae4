"""Send the learner's progress to the class's attendance page, where a class has one.

The whole of progress.json and survey.json goes to LABS_ATTENDANCE_URL, signed with the learner's
own token (JUPYTERHUB_API_TOKEN): at the start, on each change, and once a minute. A network that
fails is no business of the learner's: it is noted for debugging, and tried again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest
from tornado.ioloop import PeriodicCallback

from labhelpers import progress
from labpanel import survey

LOOK_SECONDS = 1.0  # how often the file is looked at
SAY_SECONDS = 60.0  # how often it is sent when nothing changes
LONGEST_PAUSE = 60.0
PATIENCE = 10.0


class Reporter:
    """Sends progress to one address."""

    def __init__(self, url: str, token: str, log: logging.Logger) -> None:
        self.url, self._token, self.log = url, token, log
        self._sent: str | None = None
        self._due = 0.0
        self._pause = 0.0
        self._busy = False

    async def look(self) -> None:
        """Send the progress if it has changed, or is due; called again and again."""
        now = asyncio.get_running_loop().time()
        if self._busy or (self._pause and now < self._due):
            return
        kept = await asyncio.to_thread(_known)
        text = json.dumps(kept, sort_keys=True)
        if text == self._sent and now < self._due:
            return
        self._busy = True
        try:
            await self._send(kept)
        except (HTTPError, OSError, ValueError) as error:
            self._pause = min(max(2 * self._pause, LOOK_SECONDS), LONGEST_PAUSE)
            self.log.debug("progress was not taken (%s); again in %.0f s", error, self._pause)
            self._due = now + self._pause
        else:
            self._sent, self._pause, self._due = text, 0.0, now + SAY_SECONDS
        finally:
            self._busy = False

    async def _send(self, kept: dict[str, Any]) -> None:
        body = {**kept, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        headers = {
            "Authorization": f"token {self._token}",
            "Content-Type": "application/json",
        }
        await AsyncHTTPClient().fetch(
            HTTPRequest(
                self.url,
                method="POST",
                headers=headers,
                body=json.dumps(body),
                connect_timeout=PATIENCE,
                request_timeout=PATIENCE,
                follow_redirects=False,  # the token is for this address alone
            )
        )


def _known() -> dict[str, Any]:
    """Return what the class is sent: the progress, and the answers to the survey."""
    return {"progress": progress.load(), "survey": survey.load()}


def start(server: Any) -> None:
    """Begin to report, when this server belongs to a class."""
    url, token = os.environ.get("LABS_ATTENDANCE_URL"), os.environ.get("JUPYTERHUB_API_TOKEN")
    if not url or not token:
        return
    reporter = Reporter(url, token, server.log)
    clock = PeriodicCallback(reporter.look, LOOK_SECONDS * 1000)
    server.web_app.settings["labs_reporter"] = clock
    server.io_loop.add_callback(clock.start)
