"""Passwords: made, hashed, compared, and guessing slowed down."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Callable

from labsandbox.ezmeral.errors import TooManyAttempts

# Letters and digits that cannot be mistaken for one another on a printed sheet.
_ALPHABET = "abcdefghjkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXY3479"
_FREE_ATTEMPTS = 5
_LONGEST_PAUSE = 300


def generate() -> str:
    """Return a new password of about 80 bits."""
    groups = ["".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(3)]
    return "-".join(groups)


def hashed(password: str) -> str:
    """Return a salted scrypt hash to store."""
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${_derive(password, salt).hex()}"


def matches(password: str, stored: str) -> bool:
    """Say whether the password is the one that was hashed."""
    _, salt, digest = stored.split("$")
    return hmac.compare_digest(_derive(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _derive(password: str, salt: bytes) -> bytes:
    # 16 MiB and some 40 ms a guess: dear for whoever guesses, not noticed by whoever signs in.
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


class Throttle:
    """Make every further wrong password of a user cost twice the wait of the one before."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failed: dict[str, tuple[int, float]] = {}

    def check(self, name: str) -> None:
        """Raise TooManyAttempts while the user has to wait."""
        count, until = self._failed.get(name, (0, 0.0))
        remaining = until - self._now()
        if count >= _FREE_ATTEMPTS and remaining > 0:
            raise TooManyAttempts(math.ceil(remaining))

    def failed(self, name: str) -> None:
        """Count a wrong password."""
        count = self._failed.get(name, (0, 0.0))[0] + 1
        pause = min(2.0 ** (count - _FREE_ATTEMPTS), _LONGEST_PAUSE)
        self._failed[name] = (count, self._now() + pause)

    def succeeded(self, name: str) -> None:
        """Forget what was counted."""
        self._failed.pop(name, None)
