"""What pods write is measured, and who writes too much is evicted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labsandbox.client.resources import PODS
from labsandbox.node import storage, tmpdir
from tests.sandbox.cluster import Cluster, pod


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


@pytest.mark.fast
def test_used_counts_blocks_once_and_follows_no_link(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    one = write(own / "deep" / "a", 100_000)
    write(other / "b", 1_000_000)
    os.link(one, own / "again")
    (own / "link").symlink_to(other)
    assert 100_000 <= storage.used((own,)) < 200_000
    (tmp_path / "folder").symlink_to(other)
    assert storage.used((tmp_path / "folder", tmp_path / "missing")) == 0


@pytest.mark.fast
def test_bounds_are_a_kubelets() -> None:
    limited = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    spec = {
        "containers": [{"name": "a", **limited}, {"name": "b", **limited}],
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "3Mi"}}, {"name": "w", "emptyDir": {}}],
    }
    found = {bound.message: bound for bound in storage.bounds(spec, Path("/p"))}
    assert found['Container a exceeded its local ephemeral storage limit "1Mi". '].limit == 1 << 20
    assert found['Usage of EmptyDir volume "v" exceeds the limit "3Mi". '].limit == 3 << 20
    total = found["Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "]
    assert set(total.paths) == {Path("/p") / n for n in ("c-a", "c-b", "volumes/v", "volumes/w")}
    del spec["containers"][1]["resources"]
    assert len(storage.bounds(spec, Path("/p"))) == 2
    assert storage.bounds({"containers": [{"name": "a"}]}, Path("/p")) == []


@pytest.mark.fast
def test_short_name_reaches_the_folder_and_goes_with_it(tmp_path: Path) -> None:
    root = tmp_path / ("deep" * 30) / "root"
    (root / "tmp").mkdir(parents=True)
    short = Path(tmpdir.make(root))
    assert len(str(short)) < 40
    assert tmpdir.make(root) == str(short)
    (short / "file").write_text("x")
    assert (root / "tmp" / "file").exists()
    tmpdir.remove(tmp_path / "elsewhere")
    assert short.is_symlink()
    tmpdir.remove(tmp_path)
    assert not short.is_symlink()


@pytest.mark.fast
def test_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tmpdir, "_BASE", tmp_path)
    (tmp_path / f"labs-{os.geteuid()}").symlink_to(tmp_path)
    assert tmpdir.make(tmp_path / "root") == str(tmp_path / "root" / "tmp")
    assert not [path for path in tmp_path.iterdir() if path.name != f"labs-{os.geteuid()}"]


@pytest.mark.sandbox
def test_pod_that_writes_too_much_is_evicted(cluster: Cluster, namespace: str) -> None:
    fill = "head -c 3000000 /dev/urandom > {}/file; sleep 600"
    limit = {"limits": {"ephemeral-storage": "1Mi"}}
    volume = [{"name": "v", "emptyDir": {"sizeLimit": "2Mi"}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    made = {
        "root": pod("root", fill.format("$POD_ROOT/var"), resources=limit),
        "volume": pod("volume", fill.format("$POD_ROOT/v"), volumes=volume, volumeMounts=mounts),
        "calm": pod("calm", "sleep 600", resources=limit, volumes=volume, volumeMounts=mounts),
    }
    uids = {n: cluster.create(PODS, p, namespace)["metadata"]["uid"] for n, p in made.items()}
    expected = {
        "root": 'Container c exceeded its local ephemeral storage limit "1Mi". ',
        "volume": 'Usage of EmptyDir volume "v" exceeds the limit "2Mi". ',
    }
    for name, message in expected.items():
        status = cluster.phase(namespace, name, "Failed")["status"]
        assert (status["reason"], status["message"]) == ("Evicted", message)
        assert "Evicted" in cluster.until(
            lambda name=name: cluster.reasons(namespace, name), "an event says so"
        )
        folder = cluster.state / "node" / "pods" / uids[name]
        cluster.until(lambda folder=folder: storage.used((folder,)) < 1 << 20, "room is made")
    assert (cluster.get(PODS, "calm", namespace) or {})["status"]["phase"] == "Running"


@pytest.mark.sandbox
def test_folder_for_temporary_files_has_a_short_name_in_pods(
    cluster: Cluster, namespace: str
) -> None:
    script = (
        "import os, tempfile\n"
        "made = tempfile.NamedTemporaryFile()\n"
        "print(len(tempfile.gettempdir()), os.path.realpath(made.name))\n"
    )
    made = pod("p", image="python:3", args=["python", "-c", script], restartPolicy="Never")
    uid = cluster.create(PODS, made, namespace)["metadata"]["uid"]
    cluster.phase(namespace, "p", "Succeeded")
    length, path = cluster.logs(namespace, "p").split()
    assert int(length) < 40
    assert Path(path).is_relative_to(cluster.state / "node" / "pods" / uid)
