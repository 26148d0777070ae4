"""Builds that are images: the workbench pushes them, and replicas and scoring run from them."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import shutil
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labsandbox.client.resources import DEPLOYMENTS, JOBS, PODS, SECRETS
from tests.labapps import oci
from tests.labapps.oci import PASSWORD, USER, Registry
from tests.labapps.pods import ROOT, eventually
from tests.labapps.test_workbench_models import COLOUR, HEAD, wheel
from tests.labapps.workbench import Workbench, beside_a_cluster, pids
from tests.processes import kill

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300), oci.needed("docker-registry")]
Json = Any
MODELS, RUNTIME = "labs/models", "labs/workbench"


def config(password: str, host: str) -> Json:
    """Return a Secret as `kubectl create secret docker-registry` makes it."""
    content = json.dumps({"auths": {host: {"username": USER, "password": password}}})
    data = {".dockerconfigjson": base64.b64encode(content.encode()).decode()}
    return {"type": "kubernetes.io/dockerconfigjson", "data": data}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[Registry]:
    with Registry(folder / "registry", password=True) as made:
        made.image(RUNTIME, "1.0", {"etc/made": b"by a test"})
        yield made


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Path:
    """The images of the node: what a build's image has is in `unpacked`, as after a pull."""
    table = folder / "catalog" / "images.toml"
    (table.parent / "workbench").mkdir(parents=True)
    entry = '\n[images."labs/models:*"]\nroot = "unpacked"\n'
    table.write_text((ROOT / "catalog/images.toml").read_text() + entry)
    shutil.copy(ROOT / "catalog/workbench/image.toml", table.parent / "workbench")
    (folder / "labapps").symlink_to(ROOT / "labapps")
    (folder / "unpacked").mkdir()
    return table


def settings(registry: Registry, secret: str) -> dict[str, str]:
    return {
        "WORKBENCH_RUNTIMES": f"{registry.host}/{RUNTIME}:1.0",
        "WORKBENCH_MODEL_IMAGES": f"{registry.host}/{MODELS}",
        "WORKBENCH_MODEL_IMAGES_SECRET": secret,
    }


@pytest.fixture(scope="module")
def pushing(registry: Registry, catalogue: Path, folder: Path) -> Iterator[Workbench]:
    """A workbench whose builds are images."""
    env = settings(registry, "pusher")
    with beside_a_cluster(folder, "--images", str(catalogue), env=env) as made:
        secret = config(PASSWORD, registry.host) | {"metadata": {"name": "pusher"}}
        made.cluster.create(SECRETS, secret, made.namespace)
        yield made


def ended(bench: Workbench, builds: str, build: Json) -> Json:
    def look() -> Json:
        found = bench.ask("GET", f"{builds}/{build['id']}")
        return found if found["status"] != "pending" else None

    return eventually(f"build {build['id']}", look, 120)


def pull(registry: Registry, tag: str, target: Path) -> None:
    """Unpack the last layer of an image, as a node does with all of them."""
    manifest = registry.manifest(MODELS, tag)
    assert manifest is not None
    content = registry.blob(MODELS, manifest["layers"][-1]["digest"])
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(target, filter="data")


def test_replicas_and_scoring_run_from_the_image_of_a_build(
    pushing: Workbench, registry: Registry, folder: Path
) -> None:
    project = pushing.project("colours", predict__py=COLOUR, in__csv="x\n1\n2\n")
    place = pushing.repository / "workbench/projects" / project
    (place / "requirements.lock").write_text(HEAD + wheel(place / "wheels", "1.0"))
    builds, made, begun = pushing.model(project, "colours")
    build = ended(pushing, builds, begun)
    assert build["status"] == "built", build
    name = f"{registry.host}/{MODELS}:{build['build_digest']}"
    assert build["image"] == name
    assert "predict.py:predict loads." in build["log"]
    assert f"Pushed {name} in" in build["log"]
    assert PASSWORD not in build["log"]

    pull(registry, build["build_digest"], folder / "unpacked")
    for gone in ("builds", "environments"):
        shutil.rmtree(pushing.repository / "workbench" / gone)
    path = pushing.deploy(builds, build)
    answer = pushing.call(made["access_key"], {}).json()["response"]["prediction"]
    assert answer == "green 1.0"
    deployed = path.rpartition("/")[2]
    found = pushing.cluster.get(DEPLOYMENTS, f"model-{deployed}", pushing.namespace)
    assert found is not None
    spec = found["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == name
    assert spec["imagePullSecrets"] == [{"name": "pusher"}]

    jobs = f"/projects/{project}/jobs"
    body = {"name": "score", "build_id": build["id"], "arguments": "in.csv out.jsonl"}
    job = pushing.ask("POST", jobs, body)
    assert job["runtime_identifier"] == name
    job = pushing.ask("PATCH", f"{jobs}/{job['id']}", job | {"memory": 0.5})
    assert (job["runtime_identifier"], job["memory"]) == (name, 0.5)
    run = pushing.ended(project, job["id"], pushing.run(project, job["id"]))
    assert run["status"] == "ENGINE_SUCCEEDED", run
    assert run["facts"]["build"] == build["build_digest"]
    rows = [json.loads(line) for line in (place / "out.jsonl").read_text().splitlines()]
    assert [row["prediction"] for row in rows] == ["green 1.0"] * 2
    assert not (pushing.repository / "workbench/builds").exists()
    pushing.ask("POST", f"{path}:stop")

    # The same files once more: the image is there already.
    (place / "out.jsonl").unlink()
    again = ended(pushing, builds, pushing.build(builds))
    assert (again["status"], again["image"]) == ("built", name)
    assert f"{name} is there already." in again["log"]
    assert registry.tags(MODELS) == [build["build_digest"]]


def test_build_script_decides_the_digest_of_the_image(
    pushing: Workbench, registry: Registry
) -> None:
    files = {"predict__py": "def predict(request):\n    return 1\n", "make__sh": "echo 7 > made\n"}
    project = pushing.project("script", **files)
    made = pushing.ask("POST", f"/projects/{project}/models", {"name": "script"})
    builds = f"/projects/{project}/models/{made['id']}/builds"
    body = {"file_path": "predict.py", "function_name": "predict", "build_script_path": "make.sh"}
    build = ended(pushing, builds, pushing.ask("POST", builds, body))
    assert build["image"] == f"{registry.host}/{MODELS}:{build['build_digest']}", build
    assert build["build_digest"] in registry.tags(MODELS)


def test_push_that_is_refused_is_a_failed_build_and_says_why(
    pushing: Workbench, registry: Registry, tmp_path: Path
) -> None:
    namespace = pushing.cluster.namespace("refused")
    secret = config("another", registry.host) | {"metadata": {"name": "other"}}
    pushing.cluster.create(SECRETS, secret, namespace)
    other = Workbench(pushing.cluster, namespace, tmp_path, settings(registry, "other"))
    try:
        other.start()
        project = other.project("refused", predict__py="def predict(request):\n    return 2\n")
        builds, _, begun = other.model(project, "refused")
        build = ended(other, builds, begun)
        assert build["status"] == "build failed"
        assert "image" not in build
        assert "The image was not pushed." in build["reason"]
        assert f"to {USER}" in build["reason"]
        failed = other.ask("POST", f"{builds}/{build['id']}/deployments", {"cpu": "0.5"}, 400)
        assert "build failed" in failed["message"]
    finally:
        other.end()


def test_build_whose_runtime_no_node_has_says_what_it_waits_for(
    pushing: Workbench, registry: Registry, tmp_path: Path
) -> None:
    env = settings(registry, "") | {"WORKBENCH_RUNTIMES": f"{registry.host}/labs/nowhere:1.0"}
    other = Workbench(pushing.cluster, pushing.cluster.namespace("waits"), tmp_path, env)
    try:
        other.start()
        project = other.project("waits", predict__py="def predict(request):\n    return 2\n")
        builds, _, begun = other.model(project, "waits")

        def reason() -> str:
            found = other.ask("GET", f"{builds}/{begun['id']}")
            assert found["status"] == "pending"
            return str(found["reason"])

        said = eventually("a reason", reason, 60)
        assert said.startswith(("ImagePullBackOff", "ErrImagePull")), said
        assert "labs/nowhere:1.0" in said
    finally:
        other.end()


@contextlib.contextmanager
def stopped(registry: Registry) -> Iterator[None]:
    """Have a registry take connections and answer nothing."""
    assert registry.process is not None
    registry.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        registry.process.send_signal(signal.SIGCONT)


def test_killed_push_is_a_failed_build_and_the_next_one_pushes(
    pushing: Workbench, registry: Registry
) -> None:
    project = pushing.project("killed", predict__py="def predict(request):\n    return 3\n")
    with stopped(registry):
        builds, _, begun = pushing.model(project, "killed")

        def pod() -> Json:
            labels = f"workbench.labs/build={begun['id']}"
            found = pushing.cluster.list(PODS, pushing.namespace, labels=labels)
            states = found[0]["status"].get("containerStatuses") if found else None
            is_pushing = states and "running" in states[0]["state"]
            return found[0]["metadata"]["uid"] if is_pushing else None

        uid = eventually("the push to run", pod, 60)
        kill(*pids(uid))
        build = ended(pushing, builds, begun)
    assert (build["status"], build["reason"]) == (
        "build failed",
        "The build's pod was ended before it was done; build again.",
    )
    assert build["build_digest"] not in registry.tags(MODELS)
    job = pushing.cluster.get(JOBS, f"build-{begun['id']}", pushing.namespace)
    assert job is not None
    assert job["status"]["failed"] == 1, "it is not tried again behind the client's back"
    again = ended(pushing, builds, pushing.build(builds))
    assert (again["status"], again["build_digest"]) == ("built", build["build_digest"])
    assert again["build_digest"] in registry.tags(MODELS)
