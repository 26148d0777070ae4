"""What can go wrong between a component and the API server.

ClientError
├── KubeconfigError     the file that says how to reach the server is missing or wrong
└── ApiError            the server answered with a Status other than Success
"""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """Base class of every error this package raises."""


class KubeconfigError(ClientError):
    """The kubeconfig cannot be used."""


class ApiError(ClientError):
    """The API server refused a request; carries its Status."""

    def __init__(self, status: int, reason: str, message: str, body: Any = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.body = body

    @classmethod
    def from_body(cls, status: int, body: Any) -> ApiError:
        """Build the error from an HTTP status and the decoded answer."""
        # The status a real kubelet sends at the end of an exec has no kind.
        if isinstance(body, dict) and (
            body.get("kind") == "Status" or body.get("status") == "Failure"
        ):
            return cls(
                int(body.get("code") or status),
                str(body.get("reason") or "Unknown"),
                str(body.get("message") or ""),
                body,
            )
        return cls(status, "Unknown", str(body)[:500], body)

    @property
    def is_not_found(self) -> bool:
        """Say whether the object or the resource does not exist."""
        return self.status == 404

    @property
    def is_already_there(self) -> bool:
        """Say whether a create met an object of the same name."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def is_conflict(self) -> bool:
        """Say whether somebody else changed the object first."""
        return self.status == 409 and self.reason == "Conflict"
