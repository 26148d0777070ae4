"""What a container leaves as its last words: a kubelet's rules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labsandbox.node import termination, volumes
from labsandbox.node.volumes import Mount
from labsandbox.tree import read_end

pytestmark = pytest.mark.fast


def message(root: Path, path: str, mounts: list[Mount] | None = None) -> bytes | None:
    return read_end(volumes.inside(root, mounts or [], path), termination.LONGEST)


def test_message_is_the_end_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "termination-log").write_text("x" * 5000 + "the end")
    found = message(tmp_path, "/dev/termination-log")
    assert found is not None
    assert found.endswith(b"the end")
    assert len(found) == 4096


@pytest.mark.parametrize(
    "path",
    ["/folder", "/../out/secret",
     "/../../../../../..{out}/secret", "/link/secret", "/file", "/pipe",
     "/mnt/link/secret", "/mnt/../../out/secret", "/mnt/file", "/\0", "/hard/../link/secret"],
)  # fmt: skip
def test_message_is_never_another_file(path: str, tmp_path: Path) -> None:
    root, out, data = (tmp_path / name for name in ("root", "out", "data"))
    for folder in (root, out, data, root / "folder"):
        folder.mkdir()
    (out / "secret").write_text("s3cret")
    for place in (root, data):
        (place / "link").symlink_to(out)
        (place / "file").symlink_to(out / "secret")
    os.mkfifo(root / "pipe")
    mounts = [Mount("/mnt", (str(data),), True)]
    assert message(root, path.format(out=out), mounts) is None


def test_message_within_a_mount_is_read_from_the_volume(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "words").write_text("done")
    mounts = [Mount("/mnt", (str(tmp_path / "data"),), True)]
    assert message(tmp_path / "root", "/mnt/./x/../words", mounts) == b"done"


def test_last_lines_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    lines = [f"2026-01-31T12:00:00.000000000Z stdout F line {n}\n" for n in range(5000)]
    log.write_text("".join(lines))
    found = termination.last_lines(log).decode().splitlines()
    assert found == [f"line {n}" for n in range(4920, 5000)]
    log.write_text("2026-01-31T12:00:00.000000000Z stderr F " + "y" * 9000 + "\n")
    assert termination.last_lines(log) == b"y" * 2047 + b"\n"
    assert termination.last_lines(tmp_path / "none") == b""


def test_containers_of_a_pod_share_twelve_kibibytes() -> None:
    assert termination.share({"containers": [{}]}) == 12288
    assert termination.share({"containers": [{}] * 3, "initContainers": [{}]}) == 3072
    assert termination.text(b"abc", 2) == "ab"
    assert termination.text(b"", 2) is None
