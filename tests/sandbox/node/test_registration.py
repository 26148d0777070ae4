"""What the node says about how its pods are confined, and what `labsandbox doctor` makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox import diagnosis
from labsandbox.node import registration

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("version", "has_view", "ok", "text"),
    [
        (0, False, False, "can read and write what you can"),
        (7, True, True, "only what is theirs"),
        (7, False, True, "can change modes and times of your other files"),
        (4, True, True, "can signal your processes"),
    ],
)
def test_doctor_says_what_pods_can_do(version: int, has_view: bool, ok: bool, text: str) -> None:
    status, reason, message = registration.confinement(version, has_view)
    condition = {"type": "PodsConfined", "status": status, "reason": reason, "message": message}
    node: dict[str, Any] = {"metadata": {"name": "n"}, "status": {"conditions": [condition]}}
    finding = diagnosis._confinement(node)
    assert finding.ok == ok
    assert text in finding.what
