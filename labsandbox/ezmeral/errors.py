"""What the front door refuses, each with its HTTP status.

EzmeralError
├── BadRequest        400  the request cannot be understood
├── Unauthorized      401  no session, a wrong password, or a session that is over
├── Forbidden         403  the session may not do this
├── NotFound          404
├── Conflict          409  the name is taken
└── TooManyAttempts   429  too many wrong passwords; carries when to try again
"""

from __future__ import annotations


class EzmeralError(Exception):
    """Base class: a message for the caller and what to do next."""

    status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class BadRequest(EzmeralError):
    """The request cannot be understood."""

    status = 400


class Unauthorized(EzmeralError):
    """There is no valid session."""

    status = 401


class Forbidden(EzmeralError):
    """The session is valid and may not do this."""

    status = 403


class NotFound(EzmeralError):
    """There is no such thing."""

    status = 404


class Conflict(EzmeralError):
    """Something of that name exists already."""

    status = 409


class TooManyAttempts(EzmeralError):
    """Too many wrong passwords in a row."""

    status = 429

    def __init__(self, seconds: int) -> None:
        super().__init__(
            "Too many failed sign-ins for this user.", f"Try again in {seconds} seconds."
        )
        self.seconds = seconds
