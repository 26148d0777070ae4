"""Errors in the form of grpc-gateway: a code, and a sentence that says what to do."""

from __future__ import annotations

from typing import Any

from labapps.web.asgi import Problem

__all__ = [
    "Refusal",
    "conflict",
    "forbidden",
    "invalid",
    "missing",
    "precondition",
    "unauthenticated",
]

STATUS = {3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 12: 501, 13: 500, 14: 503, 16: 401}
CODE = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 408: 3, 409: 6, 413: 3, 429: 8, 501: 12, 503: 14}


class Refusal(Problem):
    """A request that is refused, with a code of gRPC.

    Problem
    └── Refusal
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(STATUS[code], message)
        self.body = body(code, message)


def body(code: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": message, "code": code, "message": message, "details": []}


def gateway(problem: Problem) -> Problem:
    """Give any problem the form of grpc-gateway; what was expected joins the sentence."""
    if isinstance(problem, Refusal):
        return problem
    message = str(problem)
    if problem.body.get("expected"):
        message = f"{message} Expected: {problem.body['expected']}."
    problem.body = body(CODE.get(problem.status, 13), message)
    return problem


def invalid(message: str) -> Refusal:
    """Refuse a body, path or query that cannot be meant: 400."""
    return Refusal(3, message)


def missing(message: str) -> Refusal:
    """Refuse what is not there, or not for this user: 404."""
    return Refusal(5, message)


def conflict(message: str) -> Refusal:
    """Refuse what something else stands in the way of: 409."""
    return Refusal(6, message)


def forbidden(message: str) -> Refusal:
    """Refuse what a user has no permission for: 403."""
    return Refusal(7, message)


def precondition(message: str) -> Refusal:
    """Refuse what is too early or too late: 400 with code 9."""
    return Refusal(9, message)


def unauthenticated(message: str) -> Refusal:
    """Refuse a key that is missing, unknown or ended: 401."""
    return Refusal(16, message)
