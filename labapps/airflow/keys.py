"""The secrets of one Airflow: made at its first start, in files that only their owner reads.

The components share the keys, or they refuse each other's tokens. A learner's password is the
token of the service, which the platform already hands to whoever may use it.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from labapps import files

__all__ = ["INSTRUCTOR", "LEARNER", "USERS", "keys", "write_passwords"]

LEARNER, INSTRUCTOR = "learner", "instructor"
USERS = f"{LEARNER}:op,{INSTRUCTOR}:admin"


def keys(folder: Path) -> dict[str, str]:
    """Return the keys and the instructor's password; make them when they are not there."""
    path = folder / "keys.json"
    if not path.exists():
        made = {
            "jwt": secrets.token_hex(32),
            "api": secrets.token_hex(32),
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "instructor": secrets.token_urlsafe(18),
        }
        files.replace(path, json.dumps(made), 0o600)
    found: dict[str, str] = json.loads(path.read_text("utf-8"))
    return found


def write_passwords(folder: Path, tokens: Iterable[str]) -> Path:
    """Write who signs in with what; Airflow reads the file at each sign-in."""
    path = folder / "passwords.json"
    known = sorted(tokens)
    # Without a token of the service nobody is a learner: the password is then one nobody knows.
    learner = known[0] if known else secrets.token_urlsafe(32)
    passwords = {LEARNER: learner, INSTRUCTOR: keys(folder)["instructor"]}
    files.replace(path, json.dumps(passwords), 0o600)
    return path
