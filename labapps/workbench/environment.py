"""The locked requirements of a project, as an environment that is made once for each lock.

`python -m labapps.workbench.environment <folder> <program> …` makes the environment of the folder's
`requirements.lock`, then becomes the program. An environment is a folder of packages before the
image's own on the path, so it means the same in every pod. Standard library only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import secrets
import subprocess
import sys
import time
from pathlib import Path

from labapps.workbench.layout import ENVIRONMENTS, Layout

__all__ = ["LOCK", "EnvironmentFailed", "prepare"]

LOCK = "requirements.lock"


class EnvironmentFailed(Exception):
    """The requirements could not be installed; the message is the installer's last words."""


def digest_of(lock: bytes) -> str:
    """Return the digest of a lock on this Python: a package may be built for it."""
    version = ".".join(map(str, sys.version_info[:2]))
    return hashlib.sha256(f"{version} {platform.machine()}\n".encode() + lock).hexdigest()[:40]


def prepare(layout: Layout, folder: Path) -> Path | None:
    """Return the environment of a folder's lock, made when it is not there; none without a lock."""
    try:
        lock = (folder / LOCK).read_bytes()
    except OSError:
        return None
    digest = digest_of(lock)
    found = layout.environment(digest)
    if found.is_dir():
        return found
    home, draft, began = layout.folder(ENVIRONMENTS), f".{secrets.token_hex(8)}", time.monotonic()
    with layout.made(ENVIRONMENTS) as environments:
        os.mkdir(draft, dir_fd=environments)
        try:
            _install(folder, found.with_name(draft))
            try:
                os.rename(draft, digest, src_dir_fd=environments, dst_dir_fd=environments)
            except OSError:
                if not found.is_dir():
                    raise
        finally:
            home.discard(draft)
    print(f"Environment {digest} of {LOCK} was made in {time.monotonic() - began:.1f} s.")
    return found


def _install(folder: Path, target: Path) -> None:
    """Install what a lock names, and nothing that it has no hash of."""
    words = ["install", "--require-hashes", "--no-deps", "--target", str(target)]
    if importlib.util.find_spec("uv"):
        words = ["uv", "pip", *words, "--python", sys.executable, "--no-cache", "--quiet"]
    else:
        words = ["pip", *words, "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", *words, "--requirement", LOCK],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        last = done.stderr.strip()[-2000:]
        raise EnvironmentFailed(
            f"{LOCK} cannot be installed: {last}\nLock it with hashes: "
            "`uv pip compile --generate-hashes requirements.in -o requirements.lock`."
        )


def main() -> None:
    folder, *words = sys.argv[1:]
    try:
        found = prepare(Layout.from_env(), Path(folder))
    except EnvironmentFailed as problem:
        sys.exit(str(problem))
    if found is not None:
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{found}{os.pathsep}{before}" if before else str(found)
    sys.stdout.flush()
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
