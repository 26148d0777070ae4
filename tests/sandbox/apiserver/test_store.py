"""The store by itself: revisions, batches, the past, compaction, continue tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from labsandbox.apiserver.status import StatusError
from labsandbox.apiserver.store import MOST_KEPT, Change, Record, Stale, Store
from labsandbox.apiserver.store.continuation import Position, decode_position, encode_position

pytestmark = pytest.mark.fast
Json = dict[str, Any]


def obj(name: str, **labels: str) -> Json:
    return {"metadata": {"name": name, "namespace": "n", "labels": labels}}


@asynccontextmanager
async def opened(folder: Path, most_kept: int = MOST_KEPT) -> AsyncIterator[Store]:
    store = Store(folder / "test.db", most_kept)
    store.start()
    try:
        yield store
    finally:
        store.close()


def run(
    body: Callable[[Store], Coroutine[Any, Any, None]], folder: Path, most_kept: int = MOST_KEPT
) -> None:
    async def main() -> None:
        async with opened(folder, most_kept) as store:
            await body(store)

    asyncio.run(main())


async def put(store: Store, name: str, **labels: str) -> Record:
    expected = store.latest("things", "n", name)
    return await store.write("things", "n", name, obj(name, **labels), expected)


def test_store_keeps_objects_and_revisions_over_a_restart(tmp_path: Path) -> None:
    async def write(store: Store) -> None:
        for name in ("b", "a", "c"):
            await put(store, name)
        record = store.get("things", "n", "b")
        assert record is not None
        await store.remove("things", "n", "b", record.load(), record)

    async def read(store: Store) -> None:
        assert [record.name for record in store.bucket("things").ordered("n")] == ["a", "c"]
        assert store.revision == 5
        assert (await put(store, "d")).revision == 6

    run(write, tmp_path)
    run(read, tmp_path)


def test_store_refuses_a_write_built_on_an_old_version(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        first = await put(store, "a")
        await put(store, "a", x="1")
        with pytest.raises(Stale):
            await store.write("things", "n", "a", obj("a"), first)
        with pytest.raises(Stale):
            await store.write("things", "n", "a", obj("a"), None)

    run(body, tmp_path)


def test_pending_writes_build_on_each_other_and_become_visible_in_order(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        seen: list[Change] = []
        store.listeners.append(seen.append)
        futures = []
        for number in range(50):
            expected = store.latest("things", "n", "a")
            futures.append(store.submit("things", "n", "a", obj("a", number=str(number)), expected))
        assert store.get("things", "n", "a") is None
        records = await asyncio.gather(*futures)
        assert [change.revision for change in seen] == [record.revision for record in records]
        assert records[-1] is store.get("things", "n", "a")

    run(body, tmp_path)


def test_past_lists_show_what_was_and_compaction_ends_them(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        await put(store, "a")
        then = (await put(store, "b")).revision
        await put(store, "c")
        record = store.get("things", "n", "a")
        assert record is not None
        await store.remove("things", "n", "a", record.load(), record)
        bucket = store.bucket("things")
        assert [r.name for r in bucket.ordered_at("n", then)] == ["a", "b"]
        assert [r.name for r in bucket.ordered("n")] == ["b", "c"]
        assert [change.after.name for change in bucket.since(then)] == ["c", "a"]
        await store.compact()
        assert store.compacted == store.revision
        assert bucket.since(then), "watches are served from memory after a compaction"
        store.forget(store.revision)
        assert not bucket.since(then)

    run(body, tmp_path)


def test_compaction_leaves_the_present_on_disk(tmp_path: Path) -> None:
    async def write(store: Store) -> None:
        for number in range(20):
            await put(store, "a", number=str(number))
        await put(store, "b")
        await store.compact()

    async def read(store: Store) -> None:
        record = store.get("things", "n", "a")
        assert record is not None
        assert record.labels == {"number": "19"}
        assert len(store.bucket("things").changes) == 0
        assert store.revision == 22

    run(write, tmp_path)
    run(read, tmp_path)


def test_past_takes_bounded_memory(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        for number in range(100):
            await put(store, "a", number=str(number), text="x" * 200)
        for _ in range(100):
            if len(store.bucket("things").changes) < 60:
                break
            await asyncio.sleep(0.01)
        assert len(store.bucket("things").changes) < 60
        assert store.forgotten > 0
        assert store.compacted > 0

    run(body, tmp_path, most_kept=20_000)


def test_lists_are_ordered_by_key_as_in_etcd(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        for namespace, name in (("a", "z"), ("a-b", "a"), ("a", "b")):
            await store.write("things", namespace, name, obj(name), None)
        found = [(r.namespace, r.name) for r in store.bucket("things").ordered(None)]
        assert found == [("a-b", "a"), ("a", "b"), ("a", "z")]

    run(body, tmp_path)


def test_unencodable_object_is_refused_and_nothing_hangs(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(StatusError):
            store.submit("things", "n", "a", {"metadata": {"name": "a"}, "n": 2**70}, None)
        assert (await put(store, "a")).name == "a"

    run(body, tmp_path)


def test_position_survives_its_token() -> None:
    position = Position(7, "name\0")
    assert decode_position(encode_position(position)) == position


@pytest.mark.parametrize("token", ["garbage", "!", "e30", "eyJ2IjoieCJ9", "W10", "bnVsbA"])
def test_broken_token_is_a_bad_request(token: str) -> None:
    with pytest.raises(StatusError) as caught:
        decode_position(token)
    assert caught.value.code == 400
    assert "continue key is not valid" in caught.value.message
