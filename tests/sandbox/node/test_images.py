"""Image names and what they stand for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labsandbox.node import images
from labsandbox.node.images import Images, UnknownImage

pytestmark = pytest.mark.fast

CATALOG = Path(__file__).parents[3] / "catalog" / "images.toml"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("busybox", "busybox:latest"),
        ("library/busybox:1.36", "busybox:1.36"),
        ("registry.example.com:5000/labs/x:1", "labs/x:1"),
        ("localhost/x", "x:latest"),
        ("labs/notebook:1.0", "labs/notebook:1.0"),
        ("busybox:1@sha256:0123", "busybox:1"),
    ],
)
def test_normalise_leaves_host_and_digest_out(name: str, expected: str) -> None:
    assert images.normalise(name) == expected


def test_find_unknown_lists_the_known_ones() -> None:
    with pytest.raises(UnknownImage, match=r"known images: .*busybox"):
        Images(CATALOG).find("mysql:8")


def test_find_any_tag_of_the_catalogue() -> None:
    known = Images(CATALOG)
    assert known.find("busybox").args == ("sh",)
    assert known.find("python:3.12-slim").args[0].endswith("python")


def test_find_reads_a_changed_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "images.toml"
    path.write_text('[images."a:1"]\n')
    known = Images(path)
    assert known.find("a:1").name == "a:1"
    path.write_text('[images."b:1"]\n')
    os.utime(path, ns=(1, 1))
    with pytest.raises(UnknownImage):
        known.find("a:1")


def test_pack_is_the_same_for_the_same_content(tmp_path: Path) -> None:
    for name in ("x", "y"):
        folder = tmp_path / name
        (folder / "app").mkdir(parents=True)
        (folder / "app" / "startscript").write_text("#!/bin/sh\n")
        (folder / "app" / "startscript").chmod(0o755)
        os.utime(folder / "app" / "startscript", (hash(name) % 1000, 5))
    assert images.pack(tmp_path / "x") == images.pack(tmp_path / "y")
