"""The images of builds: pushed to a real registry, read by other tools, and run."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labapps.workbench import copies, image, layer, runtime
from labapps.workbench.distribution import Account, Name, RegistryError, account, accounts
from labapps.workbench.manifest import Frame, Images, build
from tests.labapps import oci
from tests.labapps.oci import PASSWORD, USER, Registry, Tokens, docker_config
from tests.labapps.pods import ROOT, address, eventually

registry_test = [
    pytest.mark.sandbox,
    pytest.mark.timeout(240),
    oci.needed("docker-registry"),
]
Json = Any
MODELS, RUNTIME = "labs/models", "labs/workbench"
FILES = {
    "predict.py": "def predict(request):\n    return request\n",
    "data/table.csv": "a,b\n1,2\n",
    "run.sh": "#!/bin/sh\n",
}


class Place:
    """A project repository with one build, and the pod that pushes its image."""

    def __init__(self, folder: Path, files: dict[str, str] | None = None) -> None:
        self.folder, self.repository = folder, folder / "repository"
        draft = self.repository / "workbench/builds/draft"
        for name, text in (files or FILES).items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
        (self.repository / "workbench/runs/build-1").mkdir(parents=True)
        self.digest = self.digest_of(draft)
        self.build = draft.rename(draft.with_name(self.digest))

    def digest_of(self, folder: Path) -> str:
        number = os.open(folder, os.O_RDONLY)
        try:
            return copies.digest_of(number)
        finally:
            os.close(number)

    def begin(self, to: str, base: str, *more: str) -> subprocess.Popen[str]:
        env = {"WORKBENCH_UNIT": "build-1", "PROJECT_REPO": str(self.repository)}
        words = ["--to", to, "--base", base, *more, self.digest]
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "labapps.workbench.image", *words],
            env=env | {"POD_ROOT": str(self.folder / "pod"), "PATH": os.environ["PATH"]},
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def push(self, to: str, base: str, *more: str, code: int = 0) -> str:
        with self.begin(to, base, *more) as process:
            found, _ = process.communicate(timeout=120)
        assert process.returncode == code, found
        return found

    @property
    def secret(self) -> Path:
        return self.folder / "pod/etc/registry"

    def pushed(self) -> str:
        return (self.repository / "workbench/runs/build-1/image").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as made:
        yield made


@pytest.mark.fast
@pytest.mark.parametrize(
    "text",
    [
        "",
        "Registry.org/X",
        "r.org/a b",
        "r.org/a:",
        "r.org/a@sha256:12",
        "ftp://r.org/a",
        "labs/a:1",
    ],
)
def test_name_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RegistryError, match="Expected the name of an image"):
        Name.parse(text)


@pytest.mark.fast
def test_names_are_read_as_container_tools_read_them() -> None:
    found = {
        "r.org/a": "https://r.org a latest",
        "localhost/a:1": "http://localhost a 1",
        "127.0.0.1:5000/a/b:1": "http://127.0.0.1:5000 a/b 1",
        "https://127.0.0.1:5000/a": "https://127.0.0.1:5000 a latest",
        "http://r:5000/a": "http://r:5000 a latest",
    }
    names = {text: Name.parse(text) for text in found}
    assert {t: f"{n.url} {n.repository} {n.reference}" for t, n in names.items()} == found


@pytest.mark.fast
@pytest.mark.parametrize(
    ("prefix", "runtimes", "words"),
    [
        ("labs/models", "r.org/labs/w:1", "WORKBENCH_MODEL_IMAGES: Expected the name"),
        ("r.org/models:1", "r.org/labs/w:1", "without a tag, such as"),
        ("r.org/models", "r.org/labs/w:1,labs/w:1", "in WORKBENCH_RUNTIMES. Expected"),
    ],
)
def test_setting_that_names_no_registry_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, prefix: str, runtimes: str, words: str
) -> None:
    monkeypatch.setenv("WORKBENCH_MODEL_IMAGES", prefix)
    monkeypatch.setenv("WORKBENCH_RUNTIMES", runtimes)
    with pytest.raises(SystemExit, match=words):
        runtime.images()


@pytest.mark.fast
def test_accounts_are_those_of_a_docker_config(tmp_path: Path) -> None:
    name = Name.parse("r.org:5000/labs/models")
    assert accounts(tmp_path / "none") == {}
    folder = docker_config(tmp_path, "https://r.org:5000/v2/", auth="YTpiOmM=")
    assert account(accounts(folder / ".dockerconfigjson"), name) == Account("a", "b:c")
    other = {"r.org": {"auth": "YTpi"}, "index.r.org/v1/": {"identitytoken": "t"}}
    assert account(other, name) == Account()
    assert account(other, Name.parse("index.r.org/labs/models")).identity == "t"
    with pytest.raises(RegistryError, match="kubectl create secret docker-registry"):
        account({"r.org:5000": {"auth": "no base64!"}}, name)
    (tmp_path / ".dockerconfigjson").write_text("[]")
    with pytest.raises(RegistryError, match="kubectl create secret docker-registry"):
        accounts(tmp_path / ".dockerconfigjson")


@pytest.mark.fast
def test_layer_has_the_same_bytes_for_the_same_files(tmp_path: Path) -> None:
    written = []
    for number in (1, 2):
        place = Place(tmp_path / str(number))
        os.utime(place.build / "predict.py", (number, number))
        (place.build / "link").symlink_to("/etc/passwd")
        (place.build / "__pycache__").mkdir()
        (place.build / "data" / "of ü \udcff").write_text("x")
        target, folder = io.BytesIO(), os.open(place.build, os.O_RDONLY)
        made, files = layer.write(target, [(f"opt/model/builds/{place.digest}", folder)])
        os.close(folder)
        assert made.digest == oci.digest_of(target.getvalue())
        assert len(files) == 4
        written.append(target.getvalue())
    assert written[0] == written[1]
    with tarfile.open(fileobj=io.BytesIO(written[0])) as tar:
        entries = tar.getmembers()
    assert {(e.uid, e.gid, e.mtime, e.uname) for e in entries} == {(0, 0, 0, "")}
    assert [
        e.name.partition(place.digest)[2] for e in entries if e.mode & 0o100 and e.isfile()
    ] == ["/run.sh"]
    assert not [e for e in entries if "link" in e.name or "pycache" in e.name]
    assert entries[0].name == "opt"
    assert entries[0].isdir()


RECORD = {
    "id": "1", "digest": "d" * 40, "target": "predict.py:predict", "engine_image": "r/labs/w:1",
    "registered_model_version_id": "",
}  # fmt: skip


@pytest.mark.fast
def test_account_of_the_registry_is_not_where_the_projects_code_runs() -> None:
    frame = Frame("bench", "repo", images=Images("r.org/models", "pusher"))
    spec = build(frame, RECORD, "r/labs/w:1")["spec"]["template"]["spec"]
    (test,), (push,) = spec["initContainers"], spec["containers"]
    assert [m["name"] for m in test["volumeMounts"]] == ["repository"]
    assert [m["name"] for m in push["volumeMounts"]] == ["repository", "registry"]
    assert test["command"][4:6] == ["--build", "d" * 40]
    assert push["command"][4:] == [
        "--image", "--to", "r.org/models", "--base", "r/labs/w:1", "d" * 40,
    ]  # fmt: skip
    assert spec["imagePullSecrets"] == [{"name": "pusher"}]
    other = build(frame, RECORD, "another")["spec"]["template"]["spec"]["containers"][0]
    assert "--apart" in other["command"]


@pytest.mark.fast
def test_without_the_setting_a_build_is_one_container() -> None:
    spec = build(Frame("bench", "repo"), RECORD, "r/labs/w:1")["spec"]
    assert spec["activeDeadlineSeconds"] == 900
    assert {"initContainers", "imagePullSecrets"} & set(spec["template"]["spec"]) == set()
    assert [v["name"] for v in spec["template"]["spec"]["volumes"]] == ["repository"]


@pytest.mark.parametrize("kind", ["oci", "docker"])
class TestPushed:
    pytestmark = registry_test

    def test_image_is_the_runtimes_with_one_layer_more(
        self, place: Place, registry: Registry, kind: str
    ) -> None:
        registry.image(RUNTIME, "1.0", {"a": b"1" * 5000, "b": b"2"}, kind=kind)
        to, base = f"{registry.host}/{MODELS}", f"{registry.host}/{RUNTIME}:1.0"
        said = place.push(to, base)
        assert "2 mounted" in said
        assert place.pushed() == f"{to}:{place.digest}"
        before, after = registry.manifest(RUNTIME, "1.0"), registry.manifest(MODELS, place.digest)
        assert before is not None
        assert after is not None
        assert after["mediaType"] == oci.KINDS[kind][0]
        assert after["layers"][:2] == before["layers"]
        assert after["layers"][2]["mediaType"] == oci.KINDS[kind][2]
        content = registry.blob(MODELS, after["layers"][2]["digest"])
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            files = {e.name: tar.extractfile(e).read().decode()  # type: ignore[union-attr]
                     for e in tar.getmembers() if e.isfile()}  # fmt: skip
        assert files == {f"opt/model/builds/{place.digest}/{k}": v for k, v in FILES.items()}
        config = json.loads(registry.blob(MODELS, after["config"]["digest"]))
        assert len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 3
        assert config["config"]["Env"] == ["PATH=/usr/bin:/bin"]
        assert config["config"]["Labels"]["org.opencontainers.image.base.name"] == base

        # Once more: nothing is stored, and a registry that lost the image gets the same again.
        stored = registry.log().count("POST")
        assert "is there already" in place.push(to, base)
        assert registry.log().count("POST") == stored

    def test_runtime_in_an_index_is_the_one_for_this_machine(
        self, place: Place, registry: Registry, kind: str
    ) -> None:
        found = {
            machine: registry.image(
                RUNTIME, machine, {"machine": machine.encode()}, kind=kind, machine=machine
            )
            for machine in ("s390x", "amd64", "arm64")
        }
        registry.index(RUNTIME, "1.0", found, kind)
        to = f"{registry.host}/{MODELS}"
        place.push(to, f"{registry.host}/{RUNTIME}:1.0")
        after = registry.manifest(MODELS, place.digest)
        assert after is not None
        config = json.loads(registry.blob(MODELS, after["config"]["digest"]))
        mine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        assert config["architecture"] == mine
        del found[mine]
        registry.index(RUNTIME, "2.0", found, kind)
        said = place.push(to, f"{registry.host}/{RUNTIME}:2.0", code=1)
        assert f"has no image for linux/{mine}" in said


class TestRegistry:
    pytestmark = registry_test

    def test_layers_of_another_registry_are_copied(
        self, place: Place, registry: Registry, tmp_path: Path
    ) -> None:
        with Registry(tmp_path / "other") as other:
            other.image(RUNTIME, "1.0", {"a": b"1" * 5000, "b": b"2"})
            place.push(f"{registry.host}/{MODELS}", f"{other.host}/{RUNTIME}:1.0")
        after = registry.manifest(MODELS, place.digest)
        assert after is not None
        for one in after["layers"]:
            assert oci.digest_of(registry.blob(MODELS, one["digest"])) == one["digest"]

    def test_same_files_in_another_runtime_are_another_image(
        self, place: Place, registry: Registry
    ) -> None:
        to = f"{registry.host}/{MODELS}"
        bases = [f"{registry.host}/{RUNTIME}:{tag}" for tag in ("1.0", "2.0")]
        for tag in ("1.0", "2.0"):
            registry.image(RUNTIME, tag, {"version": tag.encode()})
        place.push(to, bases[0])
        place.push(to, bases[1], "--apart")
        own = image.tags(place.digest, bases[1], apart=True)
        assert place.pushed() == f"{to}:{own[0]}"
        assert registry.tags(MODELS) == sorted([place.digest, *own])
        # The default runtime has changed since: what serves the first image keeps it.
        registry.image(RUNTIME, "3.0", {"version": b"3"})
        place.push(to, f"{registry.host}/{RUNTIME}:3.0")
        assert place.pushed().startswith(f"{to}:{place.digest}-")
        assert len(registry.tags(MODELS)) == 3

    def test_build_that_has_changed_is_not_pushed(self, place: Place, registry: Registry) -> None:
        registry.image(RUNTIME, "1.0", {"a": b"1"})
        (place.build / "predict.py").write_text("import os")
        said = place.push(f"{registry.host}/{MODELS}", f"{registry.host}/{RUNTIME}:1.0", code=1)
        assert "have changed since" in said
        assert registry.tags(MODELS) == []

    def test_killed_push_leaves_no_image_and_the_next_one_goes_on(
        self, place: Place, registry: Registry, tmp_path: Path
    ) -> None:
        big = random.Random(1).randbytes(64 << 20)
        with Registry(tmp_path / "other") as other:
            other.image(RUNTIME, "1.0", {"small": b"1", "large": big})
            words = (f"{registry.host}/{MODELS}", f"{other.host}/{RUNTIME}:1.0")
            uploads = registry.folder / f"data/docker/registry/v2/repositories/{MODELS}/_uploads"

            def sent() -> int:
                return sum(f.stat().st_size for f in uploads.glob("*/data"))

            with place.begin(*words) as process:
                # 64 MiB take longer than it takes to see the first of them.
                eventually("a part of the layer to be sent", lambda: sent() > 1 << 20)
                process.send_signal(signal.SIGKILL)
            assert registry.tags(MODELS) == []
            assert not (place.repository / "workbench/runs/build-1/image").exists()
            said = place.push(*words)
        assert "1 there, 1 copied" in said
        after = registry.manifest(MODELS, place.digest)
        assert after is not None
        assert (
            oci.digest_of(registry.blob(MODELS, after["layers"][1]["digest"]))
            == (after["layers"][1]["digest"])
        )

    def test_registry_with_a_password_and_an_authority_of_its_own(
        self, place: Place, tmp_path: Path
    ) -> None:
        with Registry(tmp_path / "r", password=True, tls=True) as registry:
            registry.image(RUNTIME, "1.0", {"a": b"1"})
            words = (f"https://{registry.host}/{MODELS}", f"https://{registry.host}/{RUNTIME}:1.0")
            docker_config(place.secret, registry.host, username=USER, password="another")
            assert "as ca.crt" in place.push(*words, code=1)
            authority = Path(str(registry.session.verify)).read_bytes()
            (place.secret / "ca.crt").write_bytes(authority)
            said = place.push(*words, code=1)
            assert f"refuses GET /v2/{MODELS}/manifests/{place.digest} to {USER}" in said
            assert "kubectl create secret docker-registry" in said
            assert "another" not in said
            docker_config(place.secret, registry.host, username=USER, password=PASSWORD)
            place.push(*words)
            assert registry.tags(MODELS) == [place.digest]

    @pytest.mark.parametrize("way", ["password", "identity"])
    def test_registry_whose_token_server_says_who_may(
        self, place: Place, tmp_path: Path, way: str
    ) -> None:
        (tmp_path / "tokens").mkdir()
        with Tokens(tmp_path / "tokens") as tokens, Registry(tmp_path / "r", tokens=tokens) as made:
            scopes = [f"repository:{MODELS}:pull,push", f"repository:{RUNTIME}:pull,push"]
            made.session.headers["Authorization"] = f"Bearer {tokens.token(scopes)}"
            made.image(RUNTIME, "1.0", {"a": b"1"})
            words = (f"{made.host}/{MODELS}", f"{made.host}/{RUNTIME}:1.0")
            assert "somebody without an account" in place.push(*words, code=1)
            given = {"identitytoken": "an identity"}
            if way == "password":
                given = {"username": USER, "password": PASSWORD}
            docker_config(place.secret, made.host, **given)
            assert "1 mounted" in place.push(*words)
            wanted = [scopes[0], f"repository:{RUNTIME}:pull"]
            assert tokens.asked[-1] == {"scope": wanted, "is_known": True}
            assert made.manifest(MODELS, place.digest) is not None

    def test_runtime_that_is_nowhere_is_named(self, place: Place, registry: Registry) -> None:
        said = place.push(f"{registry.host}/{MODELS}", f"{registry.host}/{RUNTIME}:1.0", code=1)
        assert "has no image labs/workbench 1.0" in said
        assert "WORKBENCH_RUNTIMES" in said

    def test_registry_that_does_not_answer_is_named(self, place: Place) -> None:
        host = f"{address()}:5000"
        said = place.push(f"{host}/{MODELS}", f"{host}/{RUNTIME}:1.0", code=1)
        assert f"The registry {host} does not answer" in said
