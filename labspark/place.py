"""Where things are kept: the learner's home for the labs, the project repository, the cache.

On a platform PROJECT_REPO is the folder that all pods of a tenant share. Without a platform it is
a folder in the learner's home. Nothing is ever written into the checkout.
"""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path

import platformdirs

__all__ = ["cache", "home", "project_repo", "user"]


def home() -> Path:
    """Return the learner's own folder for the labs."""
    named = os.environ.get("LABS_HOME")
    return Path(named) if named else platformdirs.user_data_path("house-on-the-lake")


def project_repo() -> Path:
    """Return the project repository: PROJECT_REPO, or a folder in the learner's home."""
    named = os.environ.get("PROJECT_REPO")
    folder = Path(named).expanduser() if named else home() / "project_repo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def user() -> str:
    """Return the learner's name in a form that is safe as the name of a folder."""
    name = os.environ.get("EZMERAL_USER") or _login()
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "learner"


def cache() -> Path:
    """Return the folder for what can be made again: LABS_CACHE, or the user's cache."""
    named = os.environ.get("LABS_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("house-on-the-lake")


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return f"user{os.getuid()}"
