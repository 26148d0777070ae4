"""Keep the directory's server running; its environment is installed with `labs setup directory`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from labsandbox import certificates
from labsandbox.directory import people
from labsandbox.files import write_private

__all__ = ["FIRST_PORT", "DirectorySettings", "DirectoryUnavailable", "run"]

log = logging.getLogger(__name__)
NAME = "directory"
STAMP = "house-on-the-lake.stamp"
ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).with_name("server.py")
FIRST_PORT = 6360


class DirectoryUnavailable(RuntimeError):
    """The directory's server cannot be started."""


@dataclass(frozen=True)
class DirectorySettings:
    """How the directory is run."""

    folder: Path
    pki: Path
    host: str
    port: int

    @property
    def url(self) -> str:
        """Return the address that clients bind to."""
        return f"ldaps://{self.host}:{self.port}"


def python() -> Path:
    """Return the interpreter that has ldaptor; DirectoryUnavailable without one."""
    named = os.environ.get("LABS_CACHE")
    cache = Path(named) if named else platformdirs.user_cache_path("house-on-the-lake")
    for folder in (ROOT / f".venv-{NAME}", cache / "environments" / NAME):
        if (folder / STAMP).is_file():
            return folder / "bin" / "python"
    raise DirectoryUnavailable(
        "Expected the environment `directory` with an LDAP server, found none. Type "
        "`labs setup directory` (10 MB), then `labsandbox up --directory` again."
    )


async def run(settings: DirectorySettings, passwords: Mapping[str, str]) -> None:
    """Serve until cancelled, or until the server ends."""
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ldif = settings.folder / "people.ldif"
    write_private(ldif, people.ldif(passwords))
    hosts = ("localhost", settings.host)
    certificates.server_context(settings.pki, NAME, hosts)  # issues what is missing or old
    pair = [str(settings.pki / f"{NAME}.{kind}") for kind in ("crt", "key")]
    words = ["-I", str(SERVER), str(ldif), *pair, settings.host, str(settings.port)]
    process = await asyncio.create_subprocess_exec(
        str(python()), *words, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        raise DirectoryUnavailable(f"The directory's server ended with {await process.wait()}.")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
