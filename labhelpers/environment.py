"""Where the platform is and who you are: read from the environment, never from a cell.

`labsandbox env` prints these variables for the laptop platform; on a real one your
administrator names them. The password is read from the file EZMERAL_PASSWORD_FILE names, or
asked for in a box that shows nothing of it.
"""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

from labhelpers.errors import SettingsError
from labkube.kubeconfig import locate

__all__ = ["Settings", "password", "settings"]


@dataclass(frozen=True)
class Settings:
    """The place of the platform, as this learner sees it."""

    url: str
    ca: Path
    tenant: str
    user: str
    kubeconfig: Path
    project_repo: Path


def settings() -> Settings:
    """Return the settings, or say which variable is missing.

    >>> import os
    >>> os.environ.pop("EZMERAL_URL", None) and None
    >>> settings()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    labhelpers.errors.SettingsError: Expected EZMERAL_URL in the environment, found nothing. ...
    """
    return Settings(
        url=_needed("EZMERAL_URL").rstrip("/"),
        ca=Path(_needed("EZMERAL_CA")),
        tenant=_needed("EZMERAL_TENANT"),
        user=_needed("EZMERAL_USER"),
        kubeconfig=locate(),
        project_repo=Path(_needed("PROJECT_REPO")),
    )


def password(user: str) -> str:
    """Return the password: from EZMERAL_PASSWORD_FILE, or asked for in a closed box."""
    file = os.environ.get("EZMERAL_PASSWORD_FILE")
    if file:
        try:
            return Path(file).read_text("utf-8").strip()
        except OSError as error:
            raise SettingsError(
                f"Expected a password in the file of EZMERAL_PASSWORD_FILE, found: {error}. "
                "Unset the variable to be asked instead."
            ) from error
    return getpass.getpass(f"Password of {user}: ")


def _needed(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SettingsError(
            f"Expected {name} in the environment, found nothing. Start Jupyter with `make lab`, "
            'or type `labsandbox up --detach` and `eval "$(labsandbox env)"` before you start it.'
        )
    return value
