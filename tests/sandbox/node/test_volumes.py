"""Volumes written from the API, and mounts below a container's root."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from labsandbox.node import volumes
from labsandbox.node.environment import ConfigError
from labsandbox.node.volumes import MountError

from .samples import make_map, make_pod

pytestmark = pytest.mark.fast

OWNER = {"namespace": "t", "name": "x", "uid": "1"}
CLAIM = {"metadata": OWNER, "spec": {"volumeName": "v"}}


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
    sources = {"data": ((str(data),), True), "conf": ((str(conf),), False)}
    mounts = volumes.mounts_of(container, sources, {"POD": "p0"})
    root = tmp_path / "root"
    root.mkdir()
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
    assert volumes.permitted(tmp_path / "new", [tmp_path]) == (str(tmp_path), "new")
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize(
    ("claim", "volume", "message"),
    [
        (None, None, 'persistentvolumeclaim "x" not found'),
        ({"spec": {}}, None, "not bound to a volume yet"),
        (CLAIM, {"spec": {"nfs": {}, "claimRef": OWNER}}, "not a folder of this machine"),
        (CLAIM, {"spec": {"hostPath": {"path": "/v"}}}, "does not belong to"),
        *[
            (CLAIM, {"spec": {"hostPath": {"path": "/v"}, "claimRef": {**OWNER, key: value}}}, None)
            for key, value in [("namespace", "u"), ("name", "y"), ("uid", "2"), ("uid", "")]
        ],
    ],
)
def test_claim_folder_says_what_is_missing(claim: Any, volume: Any, message: str | None) -> None:
    with pytest.raises(MountError, match=message or "does not belong to"):
        volumes.claim_folder(claim, "x", lambda _: volume, [Path("/v")])


def test_claim_folder_is_the_bound_volumes(tmp_path: Path) -> None:
    volume = {"spec": {"hostPath": {"path": str(tmp_path / "t" / "x")}, "claimRef": OWNER}}
    assert volumes.claim_folder(CLAIM, "x", lambda _: volume, [tmp_path]) == (str(tmp_path), "t/x")


@pytest.mark.parametrize(
    "mount", ["/../../{out}", "/a/../..{out}", "/link{out}", "/link/x", "{out}/.."]
)
def test_link_mounts_reach_nothing_outside_the_root(mount: str, tmp_path: Path) -> None:
    out, root, data = (tmp_path / name for name in ("out", "root", "data"))
    for folder in (out, root, data):
        folder.mkdir()
    (out / "kept").write_text("kept")
    (root / "link").symlink_to(out)
    container = {"volumeMounts": [{"name": "v", "mountPath": mount.format(out=out)}]}
    mounts = volumes.mounts_of(container, {"v": ((str(data),), True)}, {})
    with contextlib.suppress(MountError):
        volumes.link(root, mounts)
    assert [path.name for path in out.iterdir()] == ["kept"]
    assert (out / "kept").read_text() == "kept"


def test_link_a_mount_within_another_keeps_what_the_outer_volume_holds(tmp_path: Path) -> None:
    data, inner, root = (tmp_path / name for name in ("data", "inner", "root"))
    for folder in (data, inner, root):
        folder.mkdir()
    entries = [
        {"name": "data", "mountPath": "/data"},
        {"name": "inner", "mountPath": "/data/conf"},
    ]
    sources = {"data": ((str(data),), True), "inner": ((str(inner),), True)}
    mounts = volumes.mounts_of({"volumeMounts": entries}, sources, {})
    volumes.link(root, mounts)
    assert (data / "conf").resolve() == inner
    (data / "conf").unlink()
    (data / "conf").mkdir()
    (data / "conf" / "precious").write_text("kept")
    (root / "data").unlink()
    with pytest.raises(MountError, match="cannot mount at /data/conf: Directory not empty"):
        volumes.link(root, mounts)
    assert (data / "conf" / "precious").read_text() == "kept"


@pytest.mark.parametrize("below", ["link", "link/x", "deep/link/new", "rel", "loop"])
def test_sub_path_through_a_link_that_leads_outside_is_refused(below: str, tmp_path: Path) -> None:
    out, data = tmp_path / "out", tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    out.mkdir()
    (out / "x").write_text("s3cret")
    (data / "link").symlink_to(out)
    (data / "deep" / "link").symlink_to(out)
    (data / "rel").symlink_to("../out")
    (data / "loop").symlink_to("loop")
    container = {"volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": below}]}
    with pytest.raises(MountError, match="stays inside the volume"):
        volumes.mounts_of(container, {"v": ((str(data),), True)}, {})
    assert [path.name for path in out.iterdir()] == ["x"]


def test_sub_path_through_a_link_that_stays_inside_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    container = {"volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "current/new"}]}
    (mount,) = volumes.mounts_of(container, {"v": ((str(tmp_path),), True)}, {})
    assert mount.route == (str(tmp_path), "current/new")
    assert (tmp_path / "v1" / "new").is_dir()


def test_files_that_cannot_be_written_leave_nothing_behind(tmp_path: Path) -> None:
    clash = {"a": (b"1", 0o644), "a/b": (b"2", 0o644)}
    for _ in range(3):
        with pytest.raises(OSError, match="Not a directory"):
            volumes.write_files(tmp_path, clash)
    assert list(tmp_path.iterdir()) == []
