"""The bare repositories of one git server, and one request to git's own HTTP backend."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labapps.web.asgi import Problem

__all__ = ["Answer", "Repositories"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
MOST = 50
SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    """What git's backend answered."""

    status: int
    kind: str
    body: bytes


class Repositories:
    """A folder of bare repositories; the first push to a name makes one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._making = asyncio.Lock()

    def names(self) -> list[str]:
        """Return the names of the repositories."""
        return sorted(path.name.removesuffix(".git") for path in self.folder.glob("*.git"))

    async def find(self, name: str, *, make: bool) -> None:
        """See that a repository is there; a push may make it."""
        async with self._making:
            known = self.names()
            if name in known:
                return
            if not make:
                raise Problem(
                    404,
                    f"Expected one of the repositories {', '.join(known) or '(none yet)'}; found "
                    f"{name!r}. A first `git push` to a name makes it.",
                )
            if not NAME.fullmatch(name) or len(known) >= MOST:
                raise Problem(
                    403,
                    f"Expected a name of a-z, 0-9, dot and dash, and at most {MOST} repositories; "
                    f"found {name!r} and {len(known)}.",
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            words = ("init", "--quiet", "--bare", "--initial-branch=main", f"{name}.git")
            process = await asyncio.create_subprocess_exec(
                "git", *words, cwd=self.folder, env=self._environment()
            )
            if await process.wait():
                raise Problem(500, f"git could not make the repository {name}; see the pod's log.")

    async def ask(self, request: Mapping[str, str], body: bytes) -> Answer:
        """Hand a request to `git http-backend`, which speaks CGI, and return its answer."""
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            env=self._environment() | dict(request),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(body), SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise Problem(504, f"git did not answer within {SECONDS:g} s.") from None
        head, _, content = out.partition(b"\r\n\r\n")
        fields = dict(
            line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line
        )
        status = int(fields.get("Status", "200")[:3])
        return Answer(status, fields.get("Content-Type", "text/plain"), content)

    def _environment(self) -> dict[str, str]:
        """Return git's environment: no configuration but this, whoever owns the folder."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
        }
