"""Passwords: made, hashed, compared, and guessing slowed down."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from labsandbox.ezmeral.errors import TooManyAttempts

# Letters and digits that cannot be mistaken for one another on a printed sheet.
_ALPHABET = "abcdefghjkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXY3479"
_FREE_ATTEMPTS = 5
_LONGEST_PAUSE = 60
_MOST_DOUBLINGS = 10
_FORGOTTEN_AFTER = 900
_MOST_NAMES = 10_000


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
    """Make every further wrong password of a user cost twice the wait of the one before.

    Counted is per name and source (see `source`), so that nobody is shut out by what others guess.
    An attempt counts from its beginning: of many at once no more are compared than one after the
    other. Kept are digests of the last names only, so no name and no number of names costs memory.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failed: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def begin(self, name: str, source: str = "") -> None:
        """Count an attempt; TooManyAttempts, which does not count, while the user has to wait."""
        key = _key(name, source)
        count, until = self._failed.get(key, (0, 0.0))
        now = self._now()
        if until + _FORGOTTEN_AFTER < now:
            count = 0
        if count >= _FREE_ATTEMPTS and until > now:
            raise TooManyAttempts(math.ceil(until - now))
        doublings = min(count + 1 - _FREE_ATTEMPTS, _MOST_DOUBLINGS)
        self._failed[key] = (count + 1, now + min(2.0**doublings, _LONGEST_PAUSE))
        self._failed.move_to_end(key)
        if len(self._failed) > _MOST_NAMES:
            self._failed.popitem(last=False)

    def succeeded(self, name: str, source: str = "") -> None:
        """Forget what was counted."""
        self._failed.pop(_key(name, source), None)

    def __len__(self) -> int:
        return len(self._failed)


def _key(name: str, source: str) -> bytes:
    return hashlib.sha256(f"{source}\0{name}".encode("utf-8", "surrogatepass")).digest()
