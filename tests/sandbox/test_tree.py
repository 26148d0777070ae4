"""Paths beneath a folder, with openat2 and without it, and while somebody swaps what is there."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsandbox import tree

pytestmark = pytest.mark.fast

SECRET = "s3cret"
REFUSED = (OSError,)


@pytest.fixture(params=["openat2", "walk"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Resolve by the kernel's call, or by the walk for kernels without it."""
    word = str(request.param)
    if word == "openat2" and not tree.has_openat2():
        pytest.skip("this kernel has no openat2")
    monkeypatch.setattr(tree, "has_openat2", lambda: word == "openat2")
    return word


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a folder with files and links beside a folder that holds a secret."""
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "file").write_text("mine")
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "file").write_text(SECRET)
    os.mkfifo(root / "pipe")
    for name, target in {
        "absolute": tmp_path / "out",
        "relative": "../out",
        "magic": "/proc/self/root",
        "loop": "loop",
        "inside": "a",
        "back": "a/../a/b/..",
        "file": "a/file",
        "nowhere": "missing",
    }.items():
        (root / name).symlink_to(target)
    (root / "a" / "up").symlink_to("../../out/file")
    return root


def read(root: Path, path: str, **options: bool) -> str:
    folder = tree.open_route((str(root),))
    try:
        number = tree.open_at(folder, path, os.O_RDONLY | os.O_NONBLOCK, **options)
    finally:
        os.close(folder)
    with os.fdopen(number) as file:
        return file.read()


@pytest.mark.usefixtures("how")
@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("../out/file", errno.EXDEV),
        ("a/../../out/file", errno.EXDEV),
        ("/../out/file", errno.EXDEV),
        ("absolute/file", errno.EXDEV),
        ("relative/file", errno.EXDEV),
        ("a/up", errno.EXDEV),
        ("magic/etc/passwd", errno.EXDEV),
        ("loop", errno.ELOOP),
        ("nowhere", errno.ENOENT),
        ("a/file/x", errno.ENOTDIR),
        ("a/\0", errno.EINVAL),
        ("a/\ud800", errno.EINVAL),
        ("n" * 256, errno.ENAMETOOLONG),
        ("n/" * 2100, errno.ENAMETOOLONG),
    ],
)
def test_path_that_leads_outside_is_refused(place: Path, path: str, number: int) -> None:
    found = set()
    for follow in (False, True):
        with pytest.raises(REFUSED) as caught:
            read(place, path, follow=follow)
        found.add(caught.value.errno)
    assert number in found
    assert found <= {number, errno.ELOOP, errno.ENOENT}


@pytest.mark.usefixtures("how")
@pytest.mark.parametrize("path", ["a/file", "/a//./file", "a/b/../file"])
def test_path_that_stays_inside_is_opened(place: Path, path: str) -> None:
    assert read(place, path) == read(place, path, follow=True) == "mine"


@pytest.mark.usefixtures("how")
@pytest.mark.parametrize("path", ["inside/file", "back/file", "file"])
def test_link_that_stays_inside_is_followed_only_when_wished(place: Path, path: str) -> None:
    assert read(place, path, follow=True) == "mine"
    with pytest.raises(OSError, match="symbolic links"):
        read(place, path)


@pytest.mark.usefixtures("how")
def test_folders_are_made_inside_and_nowhere_else(place: Path) -> None:
    folder = tree.open_route((str(place),))
    os.close(tree.make_folders(folder, "inside/new/er", follow=True))
    assert (place / "a" / "new" / "er").is_dir()
    for path in ("absolute/x", "relative/x", "inside/../../x", "a/up/x", "inside/x"):
        with pytest.raises(REFUSED):
            os.close(tree.make_folders(folder, path, follow=path != "inside/x"))
    os.close(folder)
    assert sorted(p.name for p in (place.parent / "out").iterdir()) == ["b", "file"]
    assert sorted(p.name for p in place.parent.iterdir()) == ["out", "root"]


@pytest.mark.usefixtures("how")
def test_write_makes_new_files_only(place: Path) -> None:
    folder = tree.open_route((str(place),))
    tree.write(folder, "new/file", b"x", 0o640)
    assert stat.S_IMODE((place / "new" / "file").stat().st_mode) == 0o640
    for path in ("new/file", "file", "nowhere", "absolute/new", "a/up"):
        with pytest.raises(REFUSED):
            tree.write(folder, path, b"overwritten")
    os.close(folder)
    assert (place.parent / "out" / "file").read_text() == SECRET
    assert (place / "a" / "file").read_text() == "mine"


@pytest.mark.usefixtures("how")
@pytest.mark.parametrize(
    "path", ["pipe", "a", "file", "a/up", "absolute/file", "../out/file", "no"]
)
def test_read_end_reads_nothing_but_regular_files(place: Path, path: str) -> None:
    assert tree.read_end((str(place), path), 100) is None


@pytest.mark.usefixtures("how")
def test_read_end_reads_the_end_and_no_more(place: Path) -> None:
    with (place / "big").open("wb") as file:
        file.truncate(1 << 40)  # a file with a hole: reading it whole would not end
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
    assert tree.read_end((str(place), "big"), 4096) == bytes(4089) + b"the end"
    assert tree.read_end((str(place), "a", "file"), 2) == b"ne"


@pytest.mark.usefixtures("how")
def test_each_part_of_a_route_stays_beneath_the_one_before(place: Path) -> None:
    (place / "a" / "sideways").symlink_to("../inside")
    os.close(tree.open_route((str(place), "a/sideways")))
    with pytest.raises(REFUSED):
        tree.open_route((str(place), "a", "sideways"))
    with pytest.raises(TypeError, match="a tuple of paths"):
        tree.open_route("/etc")


@pytest.fixture
def swapping(place: Path) -> Iterator[Path]:
    """Swap a folder for a link out, and back, as fast as it goes."""
    out, is_over = place.parent / "out", threading.Event()
    (place / "link").symlink_to(out)
    (place / "swapped").mkdir()
    (place / "swapped" / "file").write_text("mine")

    exchange = ctypes.CDLL(None).renameat2
    names = (-100, os.fsencode(place / "swapped"), -100, os.fsencode(place / "link"), 2)

    def swap() -> None:
        while not is_over.is_set():
            exchange(*names)

    thread = threading.Thread(target=swap)
    thread.start()
    yield place
    is_over.set()
    thread.join()


@pytest.mark.usefixtures("how")
def test_folder_swapped_for_a_link_never_leads_outside(swapping: Path) -> None:
    opened, errors = 0, set()
    folder = tree.open_route((str(swapping),))
    for number in range(1500):
        follow = bool(number % 2)
        try:
            opened += read(swapping, "swapped/file", follow=follow) == "mine"
            os.close(tree.make_folders(folder, f"swapped/made-{number}/x", follow=follow))
        except OSError as error:
            errors.add(error.errno)
    os.close(folder)
    assert opened
    # ENOTDIR: the walk met the link where it opens folders only, which is a refusal as well
    assert errors <= {errno.ELOOP, errno.EXDEV, errno.EAGAIN, errno.ENOTDIR}
    assert sorted(p.name for p in (swapping.parent / "out").iterdir()) == ["b", "file"]


def test_removal_takes_any_depth_and_rights_and_follows_no_link(place: Path) -> None:
    folder = os.open(place, os.O_RDONLY)
    for _ in range(150):
        os.mkdir("deep", dir_fd=folder)
        inner = os.open("deep", os.O_RDONLY, dir_fd=folder)
        os.symlink(place.parent / "out", "link", dir_fd=inner)
        os.fchmod(folder, 0)
        os.close(folder)
        folder = inner
    os.close(folder)
    before = os.stat(place.parent / "out")
    assert tree.remove(str(place))
    assert not place.exists()
    assert os.stat(place.parent / "out") == before
    assert (place.parent / "out" / "file").read_text() == SECRET
    assert tree.remove(str(place)), "what is gone is removed"


def test_removal_while_links_are_swapped_in_changes_nothing_outside(swapping: Path) -> None:
    out = swapping.parent / "out"
    os.chmod(out, 0o750)
    for number in range(60):
        (swapping / f"t{number}" / "x").mkdir(parents=True)
        (swapping / f"t{number}" / "x" / "l").symlink_to(out)
        tree.remove(str(swapping / f"t{number}"))
    assert stat.S_IMODE(out.stat().st_mode) == 0o750
    assert (out / "file").read_text() == SECRET


@pytest.mark.usefixtures("how")
def test_random_paths_of_random_trees_stay_inside(tmp_path: Path) -> None:
    seed = 11
    chance = random.Random(seed)
    names = ["a", "b", "c", "..", ".", "", "link", "out", "n\n", "é", "-rf", "$(x)", "*"]
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    out.mkdir()
    (out / "a").write_text(SECRET)
    folder = tree.open_route((str(root),))
    for _ in range(1500):
        path = "/".join(chance.choices(names, k=chance.randint(1, 6)))
        target = "/".join(["..", *chance.choices(names, k=3)][chance.randint(0, 1) :])
        action, follow = chance.randrange(5), chance.random() < 0.5
        try:
            if action == 0:
                tree.put_link(folder, path, target or "x", is_own=chance.random() < 0.3)
            elif action == 1:
                os.close(tree.make_folders(folder, path, follow=follow))
            elif action == 2:
                tree.write(folder, path, b"mine")
            else:
                assert tree.read_end((str(root), path), 100) != SECRET.encode(), (seed, path)
        except OSError:
            continue
    os.close(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "root"], seed
    assert [(p.name, p.read_text()) for p in out.iterdir()] == [("a", SECRET)], seed
