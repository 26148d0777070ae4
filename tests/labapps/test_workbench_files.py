"""The files of a project: no name leads out of it, and nothing is removed by a path."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from labapps.web.asgi import Problem, Request
from labapps.workbench import copies, files
from labapps.workbench.api import Api
from labapps.workbench.bench import Bench
from labapps.workbench.files import Folder
from labapps.workbench.keys import Keys
from labapps.workbench.layout import Layout
from labapps.workbench.manifest import Frame
from labapps.workbench.metrics import Metrics
from labapps.workbench.refusal import Refusal
from labapps.workbench.store import Store
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

PARTS = ["..", ".", "", "/", "\\", "..\\", "a", "link", "%2e%2e", "..\0", "....//", "~", "etc",
         "/etc/passwd", "secret", "C:", "a/../..", "..;", "\uff0e\uff0e", "\udc2e",
         "x" * 300]  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Folder:
    """A project with a link out of it, and a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "project"
    (root / "a").mkdir(parents=True)
    (root / "a" / "data").write_text("inside")
    (root / "link").symlink_to(tmp_path)
    (root / "a" / "secret").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "pipe")
    return Folder(root)


class Recorder:
    """Stands for what changes a file system: it notes what is asked, and removes nothing.

    A wrong name must not reach the system even when the code under test is broken: as root it would
    be believed. Folders are made and files opened only by a plain name below an open folder.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, within: Path | None = None) -> None:
        self.root, self.asked = root, list[tuple[str, str]]()
        self.within = within or root
        self.mkdir, self.open = os.mkdir, os.open
        patch.setattr(os, "mkdir", self._mkdir)
        patch.setattr(os, "open", self._open)
        for module, name in [(os, "rmdir"), (os, "rename"), (os, "replace"), (os, "remove"),
                             (os, "unlink"), (shutil, "rmtree")]:  # fmt: skip
            patch.setattr(module, name, self._note(name))

    def _note(self, what: str) -> Callable[..., None]:
        def call(*names: Any, **where: Any) -> None:
            folders = [where.get(key) for key in ("dir_fd", "src_dir_fd", "dst_dir_fd")]
            (folder,) = {one for one in folders if one is not None} or {None}
            for name in names:
                self._check(what, name, folder)
            if what == "unlink" and stat.S_ISDIR(
                os.stat(names[0], dir_fd=folder, follow_symlinks=False).st_mode
            ):
                raise IsADirectoryError(names[0])

        return call

    def _check(self, what: str, name: Any, folder: int | None) -> None:
        self.asked.append((what, str(name)))
        assert folder is not None, f"{what} {name!r} without an open folder"
        assert isinstance(name, str), name
        assert name not in ("", ".", ".."), f"{what} {name!r}"
        assert not {"/", "\0"} & set(name), f"{what} {name!r}"
        place = Path(os.readlink(f"/proc/self/fd/{folder}"))
        kept = self.root if what == "open" else self.within
        assert place.is_relative_to(kept), f"{what} {name!r} in {place}"

    def _mkdir(self, name: Any, *more: Any, dir_fd: int | None = None) -> None:
        self._check("mkdir", name, dir_fd)
        self.mkdir(name, *more, dir_fd=dir_fd)

    def _open(self, name: Any, flags: int, *more: Any, dir_fd: int | None = None) -> int:
        if (name, dir_fd) != (self.root, None):
            self._check("open", name, dir_fd)
        return self.open(name, flags, *more, dir_fd=dir_fd)


def hostile(number: int) -> Iterator[tuple[str, ...]]:
    """Return paths that try to leave a project, and some that do not."""
    chance = random.Random(7)
    yield from [("/",), ("/etc",), ("a", "/"), ("a", "/etc"), ("link", "secret"), ("a", "..")]
    for _ in range(number):
        yield tuple(chance.choice(PARTS) for _ in range(chance.randint(1, 6)))


def attempts(tree: Folder, names: tuple[str, ...]) -> Iterator[Callable[[], Any]]:
    kept = list(names)
    yield lambda: tree.list(kept)
    yield lambda: tree.is_folder(kept)
    yield lambda: tree.read(kept, 1 << 20)
    yield lambda: tree.write(kept, b"x")
    yield lambda: tree.delete(kept)


def test_no_path_leads_out_of_a_project(tree: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(tree.root.parent.iterdir())
    recorder, answered = Recorder(tree.root, monkeypatch), 0
    for names in hostile(500):
        for attempt in attempts(tree, names):
            with contextlib.suppress(Refusal):
                attempt()
                answered += 1
                kept = [name for name in names if name]
                assert all(map(files.is_plain, kept))
    assert answered > 50
    assert {"unlink", "rmdir", "replace", "mkdir", "open"} <= {what for what, _ in recorder.asked}
    monkeypatch.undo()
    assert sorted(tree.root.parent.iterdir()) == before
    assert (tree.root.parent / "secret").read_text() == "secret"


ENCODINGS: list[Callable[[str], str]] = [
    lambda name: quote(name.encode("utf-8", "surrogatepass"), safe=""),
    lambda name: quote(quote(name.encode("utf-8", "surrogatepass"), safe=""), safe=""),
    lambda name: "".join(f"%{byte:02x}" for byte in name.encode("utf-8", "surrogatepass")),
    lambda name: quote(name.encode("utf-8", "surrogatepass"), safe="/.\\;~:%"),
]


def test_no_request_to_the_api_leads_out_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "secret").write_text("secret")
    store, metrics = Store(tmp_path / "records.db"), Metrics(tmp_path / "metrics.db")
    bench = Bench(store, None, Layout(repository), Frame("w"), metrics, [])  # type: ignore[arg-type]
    served = Api(bench, Keys(store, frozenset({"key"})))

    async def ask(verb: str, path: bytes, body: bytes) -> tuple[int, bytes]:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        scope = {
            "method": verb,
            "path": path.decode("latin-1"),
            "raw_path": path,
            "headers": [(b"authorization", b"Bearer key")],
        }
        try:
            reply = await served.handle(Request(scope, receive))
        except Problem as problem:
            return problem.status, b""
        return reply.status, reply.body

    async def work() -> None:
        status, made = await ask("POST", b"/api/v2/projects", b'{"name": "p"}')
        assert status == 200
        number = json.loads(made)["id"]
        place = repository / "workbench/projects" / number
        (place / "a").mkdir()
        (place / "a" / "data").write_text("inside")
        (place / "link").symlink_to(tmp_path)
        chance, statuses = random.Random(11), list[int]()
        recorder = Recorder(repository, monkeypatch, place)
        monkeypatch.setattr(asyncio, "to_thread", direct)
        for names in hostile(500):
            encode = chance.choice(ENCODINGS)
            words = f"/api/v2/projects/{number}/files/{'/'.join(map(encode, names))}"
            for verb in ("GET", "PUT", "DELETE"):
                status, found = await ask(verb, words.encode("ascii"), b"x")
                statuses.append(status)
                assert b"secret" not in found or b'"path"' in found, words
        assert {200, 400, 404} <= set(statuses)
        assert 500 not in statuses
        assert {"unlink", "replace"} <= {what for what, _ in recorder.asked}

    asyncio.run(work())
    monkeypatch.undo()
    store.close()
    metrics.close()
    assert (tmp_path / "secret").read_text() == (repository / "secret").read_text() == "secret"


async def direct(function: Callable[..., Any], *words: Any) -> Any:
    return function(*words)


def test_a_copy_keeps_to_its_folder_while_links_are_swapped_in(tmp_path: Path) -> None:
    secret, project = tmp_path / "outside", tmp_path / "project"
    for folder in (secret, project / "a" / "b"):
        folder.mkdir(parents=True)
    for number in range(20):
        (secret / f"{number}").write_text("secret")
        (project / "a" / "b" / f"{number}").write_text("inside")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            os.rename(project / "a" / "b", project / "kept")
            os.symlink(secret, project / "a" / "b")
            os.unlink(project / "a" / "b")
            os.rename(project / "kept", project / "a" / "b")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        digests = set()
        for number in range(150):
            target = tmp_path / f"copy-{number}"
            target.mkdir()
            digests.add(copied(project, target))
            files = [path for path in target.rglob("*") if path.is_file()]
            assert not any(path.is_symlink() for path in target.rglob("*"))
            assert {path.read_text() for path in files} <= {"inside"}
    finally:
        over.set()
        thread.join()
    assert digests  # of what was there at the moment


def copied(source: Path, target: Path, kind: str | None = "copy") -> str:
    with Folder(source).opened() as one, Folder(target).opened() as other:
        return copies.copy(one, other) if kind else copies.digest_of(one)


def test_a_digest_changes_with_names_and_contents(tmp_path: Path) -> None:
    def digest() -> str:
        return copied(tmp_path, tmp_path, None)

    (tmp_path / "a").write_text("1")
    first = digest()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x").write_text("2")
    (tmp_path / "link").symlink_to("a")
    assert digest() == first
    (tmp_path / "a").rename(tmp_path / "b")
    second = digest()
    (tmp_path / "b").write_text("2")
    assert len({first, second, digest()}) == 3


def test_removal_refuses_a_path_where_it_is_used(
    tree: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nobody looked at the names before."""
    monkeypatch.setattr(files, "check", list)
    recorder = Recorder(tree.root, monkeypatch)
    for names in [("/",), ("/etc",), ("a", "/etc"), ("..",), ("a", "."), ("a", ""), ("a/../..",)]:
        for act in (tree.delete, lambda kept: tree.write(kept, b"x")):
            with pytest.raises(AssertionError, match="one component"):
                act(list(names))
    changes = {"unlink", "rmdir", "replace", "rename", "remove", "rmtree"}
    assert [one for one in recorder.asked if one[0] in changes] == []


def test_no_part_of_the_workbench_removes_a_tree_by_its_name() -> None:
    removing = {"rmtree", "removedirs", "unlink", "remove", "rmdir"}
    found = set()
    for path in sorted((ROOT / "labapps" / "workbench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in removing:
                keys = {keyword.arg for keyword in node.keywords}
                found.add((path.name, node.func.attr, "dir_fd" in keys))
    assert found == {("files.py", "unlink", True), ("files.py", "rmdir", True)}


def test_a_folder_goes_with_its_links_and_not_with_what_they_name(tree: Folder) -> None:
    (tree.root / "a" / "deep" / "er").mkdir(parents=True)
    (tree.root / "a" / "deep" / "out").symlink_to(tree.root.parent)
    tree.delete(["link"])
    tree.delete(["a"])
    assert sorted(path.name for path in tree.root.iterdir()) == ["pipe"]
    Folder(tree.root.parent).discard("project")
    Folder(tree.root.parent).discard("project")
    assert [path.name for path in tree.root.parent.iterdir()] == ["secret"]


@pytest.mark.parametrize("path", ["link/secret", "a/secret", "pipe", "a"])
def test_links_pipes_and_folders_are_not_read(tree: Folder, path: str) -> None:
    with pytest.raises(Refusal):
        tree.read(path.split("/"), 1 << 20)


def test_a_file_is_written_as_a_whole_and_read_back(tree: Folder) -> None:
    tree.write(["new", "deep", "file"], b"\0\xff")
    assert tree.read(["new", "deep", "file"], 10) == b"\0\xff"
    assert [entry["path"] for entry in tree.list(["new", "deep"])] == ["new/deep/file"]
    with pytest.raises(Refusal, match="at most 1"):
        tree.read(["new", "deep", "file"], 1)


def test_a_log_is_not_read_over_a_link(tree: Folder) -> None:
    (tree.root / "log").write_text("abc")
    assert tree.tail(["log"], 1, 10) == b"bc"
    for path in ("a/secret", "link/secret", "pipe", "nowhere", "nowhere/log"):
        assert tree.tail(path.split("/"), 0, 10) == b"", path
