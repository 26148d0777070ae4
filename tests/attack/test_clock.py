"""A clock that is wrong is named before anything waits for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labsandbox import certificates, sandbox
from labsandbox.state import State

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("shift", [timedelta(days=-1), timedelta(days=365 * 50)])
def test_start_outside_the_certificates_names_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: timedelta
) -> None:
    state = State.at(tmp_path)
    state.make()
    certificates.ensure_authority(state.pki, "test")

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + shift

    sandbox._check_clock(state)
    monkeypatch.setattr(sandbox, "datetime", Shifted)
    with pytest.raises(sandbox.NotStarted, match="clock of this machine"):
        sandbox._check_clock(state)


def test_first_start_needs_no_certificates(tmp_path: Path) -> None:
    sandbox._check_clock(State.at(tmp_path))
