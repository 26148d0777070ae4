"""What a component makes of an answer that is an error."""

from __future__ import annotations

import pytest

from labsandbox.client import ApiError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("kind", [{}, {"kind": "Status", "apiVersion": "v1"}])
def test_failure_without_a_kind_is_a_status_too(kind: dict[str, str]) -> None:
    """A real kubelet ends an exec with a status that names no kind."""
    body = {"metadata": {}, "status": "Failure", "message": "no such pod", "code": 404, **kind}
    error = ApiError.from_body(500, {**body, "reason": "NotFound"})
    assert (error.status, error.reason, error.message) == (404, "NotFound", "no such pod")
    assert error.is_not_found


def test_other_answers_are_quoted() -> None:
    assert "bad gateway" in ApiError.from_body(502, "bad gateway").message
