"""What every application stands on: place, configmeta, source, start script."""

from __future__ import annotations

import doctest
import hashlib
import importlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from labapps import files
from labapps.deployment import haproxy
from labapps.forks import source
from labapps.member.configmeta import Configmeta, read
from labapps.member.place import PathError, Place
from labspark.java import java_home
from tests.labapps.pods import ROOT, encode

pytestmark = pytest.mark.fast
DOCTESTS = [
    "member.place",
    "forks.source",
    "deployment.frames",
    "spark.daemons",
    "queue.fair",
    "queue.job",
]


@pytest.mark.parametrize("name", DOCTESTS)
def test_docstrings_show_what_happens(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"labapps.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


@pytest.mark.parametrize(
    "path",
    [
        "repo://project_repo/models/a.onnx",
        "/bd-fs-mnt/project_repo/models/a.onnx",
        "/bd-fs-mnt/TenantShare/repo/models/a.onnx",
    ],
)
def test_place_resolves_every_name_of_the_repository(tmp_path: Path, path: str) -> None:
    place = Place("", "0.0.0.0", tmp_path)
    assert place.resolve(path) == tmp_path.resolve() / "models/a.onnx"


@pytest.mark.parametrize("path", ["repo://project_repo/../secret", "/etc/passwd", "models/a"])
def test_place_refuses_what_is_not_in_the_repository(tmp_path: Path, path: str) -> None:
    with pytest.raises(PathError, match="repo://project_repo/"):
        Place("", "0.0.0.0", tmp_path).resolve(path)


def test_place_refuses_a_link_out_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/link").symlink_to("/etc")
    with pytest.raises(PathError):
        Place("", "", tmp_path / "repository").resolve("repo://project_repo/link/passwd")


def document() -> bytes:
    host = "pod-0.svc.tenant.svc.cluster.local"
    role = {
        "services": {
            "gunicorn": {"authToken": "t1", "endpoints": [f"http://{host}:10001"]},
            "ssh": {"authToken": ""},
        },
        "hostnames": [host],
        "fqdns": {"bdvlibrefkey": ["nodegroups", "1", "roles", "RESTServer", "hostnames"]},
        "fqdn_mappings": {host: "7"},
        "flavor": {"cores": "2", "memory": "1024"},
    }
    path = ["connections", "clusters", "spark", "nodegroups", "1", "roles", "master", "hostnames"]
    master = {
        "hostnames": ["m.s.tenant.svc.cluster.local"],
        "fqdns": {"bdvlibrefkey": path},
        "services": {"spark-master": {"endpoints": ["spark://m:7077"]}},
    }
    secret = {
        "metadata": {"name": encode("kc")},
        "labels": {"who": encode("student1")},
        "data": {"config": encode("apiVersion: v1")},
    }
    connected = {"1": {"roles": {"master": master}, "config_metadata": {"ml_engine": "spark"}}}
    return json.dumps(
        {
            "node": {"role_id": "RESTServer", "fqdn": host},
            "cluster": {"name": "c", "id": "1234"},
            "nodegroups": {"1": {"roles": {"RESTServer": role}}},
            "connections": {
                "clusters": {"spark": {"nodegroups": connected}},
                "secrets": {"kubeconfig": [secret]},
            },
        }
    ).encode()


def test_configmeta_follows_references() -> None:
    meta = Configmeta(document())
    assert [m.host for m in meta.members("RESTServer")] == ["pod-0.svc.tenant.svc.cluster.local"]
    assert meta.members("RESTServer")[0].node == "7"
    assert [m.host for m in meta.members("master", "spark")] == ["m.s.tenant.svc.cluster.local"]
    assert meta.tokens() == {"t1"}
    assert meta.namespace == "tenant"
    assert meta.flavor()["memory"] == "1024"
    assert meta.config_metadata("spark") == {"ml_engine": "spark"}


def test_configmeta_decodes_secrets() -> None:
    (secret,) = Configmeta(document()).secrets("kubeconfig")
    assert (secret.name, secret.labels, secret.data) == (
        "kc",
        {"who": "student1"},
        {"config": "apiVersion: v1"},
    )


def test_configmeta_that_is_half_written_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "configmeta.json"
    assert read(path) is None
    path.write_bytes(document()[:-20])
    assert read(path) is None
    path.write_bytes(document())
    assert read(path) is not None


def test_source_rewrites_container_paths_in_every_kind_of_text() -> None:
    text = (
        'a = "/bd-fs-mnt/project_repo/x"\nb = f"/bd-fs-mnt/project_repo/{1}"\n'
        'c = "/bd-fs-mnt/project_repository"\n'
    )
    names: dict[str, str] = {}
    exec(source.compile_source(text, "s.py", {"/bd-fs-mnt/project_repo": "/here"}), names)
    assert (names["a"], names["b"]) == ("/here/x", "/here/1")
    assert names["c"] == "/bd-fs-mnt/project_repository"


def test_java_home_drops_the_module_that_is_not_there(tmp_path: Path) -> None:
    home = java_home(tmp_path)
    command = [str(home / "bin/java"), "--add-modules=jdk.incubator.vector", "-version"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def run_startscript(root: Path, *arguments: str, **env: str) -> tuple[int, str, str]:
    script = ROOT / "labapps" / "member" / "configscript" / "member" / "startscript"
    done = subprocess.run(
        [str(script), *arguments],
        env=os.environ | {"POD_ROOT": str(root)} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_startscript_ends_when_the_configuration_is_in_force(tmp_path: Path) -> None:
    meta = tmp_path / "etc/guestconfig/configmeta.json"
    meta.parent.mkdir(parents=True)
    meta.write_bytes(document())
    applied = tmp_path / "run/labapps/applied"
    applied.parent.mkdir(parents=True)
    applied.write_text(hashlib.md5(document()).hexdigest() + "\nmodel m1 is broken\n")
    for event in ("--configure", "--reconnect", "--addnodes", "--delnodes"):
        assert run_startscript(tmp_path, event)[:2] == (0, "model m1 is broken\n")


def test_startscript_says_that_nothing_was_applied(tmp_path: Path) -> None:
    code, _, err = run_startscript(tmp_path, "--configure", STARTSCRIPT_SECONDS="1")
    assert code == 1
    assert "kubectl logs" in err


def test_startscript_refuses_an_unknown_event(tmp_path: Path) -> None:
    code, _, err = run_startscript(tmp_path, "--reload")
    assert code == 2
    assert "--reconnect" in err


def test_replaced_file_is_whole_private_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    files.replace(path, "first é", 0o600)
    assert path.read_text("utf-8") == "first é"
    assert path.stat().st_mode & 0o777 == 0o600
    reader = path.open(encoding="utf-8")
    with reader:
        files.replace(path, "second", 0o600)
        assert reader.read() == "first é", "who has it open reads the old text to its end"
    assert path.read_text() == "second"
    path.with_name("folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.replace(path.with_name("folder"), "text")
    assert sorted(each.name for each in path.parent.iterdir()) == ["folder", "token"]


def test_haproxy_is_told_servers_health_checks_and_what_to_ask_again(tmp_path: Path) -> None:
    servers = [("pod-0", "10.0.0.1:10001")]
    text = haproxy.render("0.0.0.0", servers, tmp_path, front=32700, stats=8081, limit=7)
    for line in (
        "    server pod-0 10.0.0.1:10001",
        "    option httpchk GET /health",
        "    retry-on conn-failure empty-response",
        "    bind 0.0.0.0:32700",
    ):
        assert line in text.splitlines()
    assert "gt 7 }" in text
