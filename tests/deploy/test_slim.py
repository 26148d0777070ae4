"""What an image leaves out of its packages, and what it keeps."""

from __future__ import annotations

import importlib.util
import platform
import zipfile
from pathlib import Path

import pytest

from labapps import slim
from labsandbox.apiserver.schema import definitions

pytestmark = pytest.mark.fast

AWAY = (
    "pandas/tests/test_x.py", "numpy/_core/include/a.h", "kubernetes/aio/client.py",
    "jupyterlab/galata/a.ts", "pandas/__pycache__/a.pyc", "babel/locale-data/sw.dat",
    "tensorflow/include/c.inc", "clang/cindex.py", "pyarrow/libarrow_flight.so.1",
    "kubernetes_validate/kubernetes-json-schema/v1.31.0-local/a",
)  # fmt: skip
STAYS = (
    "pandas/a.py", "numpy/testing/__init__.py", "kubernetes/client/a.py", "pyarrow/libarrow.so.1",
    "tensorflow/_api/v2/test/__init__.py", "babel/locale-data/en.dat", "babel/locale-data/root.dat",
    f"kubernetes_validate/kubernetes-json-schema/{definitions.VERSION}/a",
)  # fmt: skip


def make(site: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("x")


def test_what_runs_nowhere_is_removed_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, AWAY + STAYS)
    slim.slim(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(STAYS)


def test_jar_keeps_the_libraries_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    folder = tmp_path / slim.JARS
    folder.mkdir(parents=True)
    kept = ("org/A.class", "linux/amd64/libz.so", "lib-linux64.so")
    with zipfile.ZipFile(folder / "zstd.jar", "w") as jar:
        for name in (*kept, "linux/aarch64/libz.so", "win/z.dll", "osx/libz.jnilib", "l-musl.so"):
            jar.writestr(name, name)
    with zipfile.ZipFile(folder / "netty-osx-x86_64.jar", "w") as jar:
        jar.writestr("libnetty_x86_64.jnilib", "x")
    with zipfile.ZipFile(folder / "plain.jar", "w") as jar:
        jar.writestr("A.class", "x")
    before = (folder / "plain.jar").stat().st_ino
    slim.slim(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["plain.jar", "zstd.jar"]
    with zipfile.ZipFile(folder / "zstd.jar") as jar:
        assert sorted(jar.namelist()) == sorted(kept)
        assert jar.read("org/A.class") == b"org/A.class"
    assert (folder / "plain.jar").stat().st_ino == before


def test_library_that_does_not_load_without_its_symbols_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "a.so"
    library.write_bytes(b"whole")
    tool = tmp_path / "strip"
    tool.write_text('#!/bin/sh\nprintf cut > "$2"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slim, "loads", lambda path: path.read_bytes() == b"whole")
    slim.strip(library)
    assert library.read_bytes() == b"whole"
    monkeypatch.setattr(slim, "loads", lambda path: True)
    slim.strip(library)
    assert library.read_bytes() == b"cut"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.so", "strip"]


def test_rules_name_what_the_packages_have() -> None:
    """A rule that finds nothing any more has to go, or to follow the package."""
    site = Path(str(importlib.util.find_spec("numpy").origin)).parents[1]  # type: ignore[union-attr]
    for name in (*slim.UNUSED, f"{slim.SCHEMAS}/{definitions.VERSION}"):
        assert (site / name).is_dir(), name
    for pattern in slim.UNUSED_FILES:
        assert list(site.glob(pattern)), pattern
    assert definitions.VERSION == slim.SCHEMA


def test_modules_that_are_compiled_for_the_start_are_installed() -> None:
    tops = {name.partition(".")[0] for name in slim.STARTED}
    assert [name for name in sorted(tops) if importlib.util.find_spec(name) is None] == []
