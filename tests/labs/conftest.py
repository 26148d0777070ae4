"""One platform for the whole story: each lab finds what the one before it left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.labs.platform import Stage, run


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return a running platform; it is taken down whatever happens."""
    folder = tmp_path_factory.mktemp("labs")
    state, out = folder / "state", folder / "out"
    out.mkdir()
    up = run("labsandbox", "up", "--state", str(state), "--detach")
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        env = json.loads(run("labsandbox", "env", "--state", str(state), "--json").stdout)
        yield Stage(Path(state), out, env | {"LABS_HOME": str(folder / "home")})
    finally:
        run("labsandbox", "down", "--state", str(state))
