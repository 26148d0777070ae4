"""A new application is one folder in catalog/ and one in labapps/: nothing else names it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labrunner.catalog import save
from tests.sandbox.conftest import ROOT, ApiServer

from .harness import Platform

pytestmark = pytest.mark.sandbox

KDAPP = """
apiVersion: kubedirector.hpe.com/v1beta1
kind: KubeDirectorApp
metadata: {name: echo}
spec:
  label: {name: Echo}
  distroID: labs/echo
  version: "1.0"
  configSchemaVersion: 7
  services:
    - {id: web, label: {name: Web}, endpoint: {port: 8000, urlScheme: http}}
  roles:
    - id: controller
      cardinality: "1"
      imageRepoTag: labs/echo:1.0
      configPackage: {packageURL: file:///opt/configscript/member.tgz, useNewSetupLayout: true}
  config:
    selectedRoles: [controller]
    roleServices: [{roleID: controller, serviceIDs: [web]}]
"""
KDCLUSTER = """
apiVersion: kubedirector.hpe.com/v1beta1
kind: KubeDirectorCluster
metadata: {name: echo-shared}
spec:
  app: echo
  roles:
    - {id: controller, resources: {limits: {cpu: 100m, memory: 128Mi}}}
"""
# In a checkout neither `env` nor `read` is needed: the node shows pods the packages it runs from.
IMAGE = """
name = "labs/echo:1.0"
command = ["{{python}}", "-m", "labapps.echo"]
env = {{ PYTHONPATH = "{root}" }}
read = ["."]
"""
PROGRAM = '''
"""Answer with the role that this pod has."""

import asyncio

from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, follow
from labapps.member.place import Place
from labapps.web.asgi import Reply, Request
from labapps.web.server import bind, reply_with, serve


async def run() -> None:
    place = Place.from_env()
    applied.forget(place)
    async for meta in follow(place.path(CONFIGMETA)):
        role = meta.role

        async def answer(request: Request) -> Reply:
            return Reply.text(f"echo of {role} {request.path}", "text/plain")

        applied.report(place, meta.digest)
        await serve(reply_with(answer), bind(place.listen, [8000]))
        return


log.set_up()
asyncio.run(run())
'''


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout with one more application: two folders, and no other change."""
    root = tmp_path_factory.mktemp("checkout").resolve()
    for name in ("catalog", "labapps"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    described, program = root / "catalog" / "echo", root / "labapps" / "echo"
    (described / "shared").mkdir(parents=True)
    (described / "kdapp.yaml").write_text(KDAPP)
    (described / "image.toml").write_text(IMAGE.format(root=root))
    (described / "shared" / "echo-shared.yaml").write_text(KDCLUSTER)
    program.mkdir()
    (program / "__init__.py").write_text('"""Echo."""\n')
    (program / "__main__.py").write_text(PROGRAM)
    save(root)
    return root


@pytest.fixture(scope="module")
def other(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Start a platform of that checkout's catalogue."""
    server = ApiServer(tmp_path_factory.mktemp("platform"))
    server.start()
    try:
        catalog = checkout / "catalog"
        platform = Platform(server, catalog, catalog / "images.toml")
        try:
            platform.start_all()
            yield platform
        finally:
            platform.stop()
    finally:
        server.stop()


def test_new_folder_is_installed_listed_and_runs(other: Platform, checkout: Path) -> None:
    listed = other.kubectl("get", "kdapp", "-n", "kubedirector", "-o", "name").stdout
    assert "kubedirectorapp.kubedirector.hpe.com/echo" in listed
    assert "kubedirectorapp.kubedirector.hpe.com/training-engine" in listed

    namespace = other.make_namespace("echo")
    shared = checkout / "catalog" / "shared"
    made = other.kubectl("apply", "-n", namespace, "-k", str(checkout / "catalog"))
    assert "echo" in made.stdout, made.stderr
    listed = other.kubectl("kustomize", str(shared)).stdout
    assert "name: echo-shared" in listed
    assert "name: training-engine-shared" in listed
    file = shared.parent / "echo" / "shared" / "echo-shared.yaml"
    made = other.kubectl("apply", "-n", namespace, "-f", str(file))
    assert made.returncode == 0, made.stderr

    other.wait_configured("echo-shared", namespace)
    (pod,) = other.pods(namespace)
    ask = "curl --silent --show-error http://$POD_LISTEN_IP:8000/hello"
    answer = other.shell(namespace, pod["metadata"]["name"], ask)
    assert answer == "echo of controller /hello"


def test_image_that_is_not_in_the_catalogue_is_refused_with_the_known_names(
    other: Platform,
) -> None:
    namespace = other.make_namespace("unknown")
    run = other.kubectl("run", "none", "--image=labs/none:1.0", "-n", namespace)
    assert run.returncode == 0, run.stderr

    def told() -> bool:
        found = other.kubectl("get", "events", "-n", namespace, "-o", "yaml").stdout
        return "labs/echo:1.0" in found

    other.wait(told, "an event names the known images")
