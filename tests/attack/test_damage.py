"""A state that was damaged is not taken for a whole one."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from labsandbox.apiserver.store import DatabaseError, Store

pytestmark = pytest.mark.fast
OBJECTS = 50


def _with_store(path: Path, work: Any) -> None:
    async def run() -> None:
        store = Store(path)
        store.start()
        await work(store)
        store.close()

    asyncio.run(run())


async def _fill(store: Store) -> None:
    for number in range(OBJECTS):
        obj = {"metadata": {"name": f"o{number}"}, "data": {"k": "v" * 200}}
        await store.write("configmaps", "default", f"o{number}", obj, None)


def _names(path: Path) -> int:
    store = Store(path)
    found = len(store.bucket("configmaps").ordered("default"))
    store.close()
    return found


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The files of a server that was killed: nothing of its log is in the database yet."""
    alive, dead = tmp_path / "alive", tmp_path / "dead"
    alive.mkdir()

    async def work(store: Store) -> None:
        await _fill(store)
        store._database.witness.note(store.revision, at_once=True)
        shutil.copytree(alive, dead)

    _with_store(alive / "state.db", work)
    return dead / "state.db"


def test_log_that_is_whole_is_read(killed: Path) -> None:
    assert _names(killed) == OBJECTS


@pytest.mark.parametrize("damage", ["head", "removed", "cut"])
def test_log_that_is_damaged_is_noticed(killed: Path, damage: str) -> None:
    log = killed.with_name(killed.name + "-wal")
    if damage == "removed":
        log.unlink()
    else:
        raw = log.read_bytes()
        log.write_bytes(b"\0" * 64 + raw[64:] if damage == "head" else raw[: len(raw) // 2])
    with pytest.raises(DatabaseError, match="up to revision") as refused:
        Store(killed)
    # The sentence says how to go on with what is there.
    killed.with_name(killed.name + "-revision").unlink()
    assert f"rm {killed}-revision" in str(refused.value)
    assert _names(killed) < OBJECTS


def test_copy_is_offered_and_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    _with_store(path, _fill)
    path.write_bytes(b"")
    with pytest.raises(DatabaseError, match="The last copy is of") as refused:
        Store(path)
    assert f"cp {path}-copy {path}" in str(refused.value)
    path.with_name("state.db-revision").unlink()
    shutil.copy(tmp_path / "state.db-copy", path)
    assert _names(path) == OBJECTS
