"""Volumes written from the API, and mounts below a container's root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labsandbox.node import volumes
from labsandbox.node.environment import ConfigError
from labsandbox.node.volumes import MountError

from .samples import make_map, make_pod

pytestmark = pytest.mark.fast


def files(volume: dict[str, Any], *maps: dict[str, Any]) -> volumes.Files:
    known = {m["metadata"]["name"]: m for m in maps}
    tokens = {("", 3600): "tok"}
    return volumes.files_of(volume, make_pod(), lambda _, name: known.get(name), tokens, {})


def test_files_of_projected_joins_its_sources() -> None:
    namespace = {"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "m", "items": [{"key": "a", "path": "sub/a"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    found = files({"name": "v", "projected": {"sources": sources}}, make_map("m", a="1", b="2"))
    assert {path: data for path, (data, _) in found.items()} == {
        "token": b"tok",
        "sub/a": b"1",
        "ns": b"t",
    }


def test_files_of_missing_configmap_is_an_error_unless_optional() -> None:
    with pytest.raises(ConfigError, match='configmap "m" not found'):
        files({"name": "v", "configMap": {"name": "m"}})
    assert files({"name": "v", "configMap": {"name": "m", "optional": True}}) == {}


def test_write_files_replaces_all_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    assert volumes.write_files(folder, {"a": (b"1", 0o644), "x/b": (b"2", 0o600)})
    held = (folder / "..data").resolve()
    assert volumes.write_files(folder, {"a": (b"3", 0o644)})
    assert (folder / "a").read_bytes() == b"3"
    assert not (folder / "x").is_symlink()
    assert not held.exists()
    assert [p.name for p in folder.iterdir() if not p.name.startswith("..")] == ["a"]


def test_write_files_same_content_changes_nothing(tmp_path: Path) -> None:
    content = {"a": (b"1", 0o644)}
    volumes.write_files(tmp_path, content)
    before = (tmp_path / "..data").resolve()
    assert not volumes.write_files(tmp_path, content)
    assert (tmp_path / "..data").resolve() == before


def test_write_files_path_outside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inside the volume"):
        volumes.write_files(tmp_path / "v", {"../x": (b"1", 0o644)})


def test_link_mounts_show_sub_paths_and_nested_mounts(tmp_path: Path) -> None:
    data, conf = tmp_path / "data", tmp_path / "conf"
    (data / "inner").mkdir(parents=True)
    conf.mkdir()
    (conf / "app.ini").write_text("x")
    container = {
        "volumeMounts": [
            {"name": "conf", "mountPath": "/etc/app.ini", "subPath": "app.ini", "readOnly": True},
            {"name": "data", "mountPath": "/data"},
            {"name": "data", "mountPath": "/deep/er", "subPathExpr": "$(POD)/x"},
        ]
    }
    sources = {"data": (data, True), "conf": (conf, False)}
    mounts = volumes.mounts_of(container, sources, {"POD": "p0"})
    root = tmp_path / "root"
    volumes.link(root, mounts)
    assert (root / "etc/app.ini").read_text() == "x"
    (root / "deep/er/f").write_text("y")
    assert (data / "p0/x/f").read_text() == "y"
    assert {m.path: m.is_writable for m in mounts} == {
        "/etc/app.ini": False,
        "/data": True,
        "/deep/er": True,
    }


def test_permitted_refuses_what_is_not_shared(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="not shared with pods"):
        volumes.permitted(Path("/etc"), [tmp_path])
    link = tmp_path / "link"
    link.symlink_to("/etc")
    with pytest.raises(MountError):
        volumes.permitted(link, [tmp_path])
    assert volumes.permitted(tmp_path / "new", [tmp_path]).is_dir()


@pytest.mark.parametrize(
    ("claim", "volume", "message"),
    [
        (None, None, 'persistentvolumeclaim "x" not found'),
        ({"spec": {}}, None, "not bound to a volume yet"),
        ({"spec": {"volumeName": "v"}}, {"spec": {"nfs": {}}}, "not a folder of this machine"),
    ],
)
def test_claim_folder_says_what_is_missing(claim: Any, volume: Any, message: str) -> None:
    with pytest.raises(MountError, match=message):
        volumes.claim_folder(claim, "x", lambda _: volume, [])
