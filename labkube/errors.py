"""What keeps a learner from the cluster.

KubeError
└── SignInNeeded     there is no session, or it is over
"""

from __future__ import annotations

__all__ = ["KubeError", "SignInNeeded"]


class KubeError(Exception):
    """The base of all errors of labkube; its text ends with what to do next."""

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentences alone: a learner needs no stack of ours."""
        return [f"{type(self).__name__}: {self}"]


class SignInNeeded(KubeError):
    """There is no session, or it is over; the text says what to run."""
