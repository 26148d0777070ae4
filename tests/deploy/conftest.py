"""A running platform for the tests of this folder, and a site for `kubectl apply -k`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from labclass.checkup.finding import OK
from labclass.checkup.looks import examine
from labclass.checkup.visit import Visit, visiting
from tests.deploy.kubectl import Kubectl
from tests.deploy.kustomize import KUBERNETES
from tests.deploy.running import NAMESPACE, Platform
from tests.deploy.visits import WAY_IN, shared
from tests.sandbox.platform.program import environment, family, labsandbox, until


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Return a sandbox that runs, and take it down without a trace."""
    state = tmp_path_factory.mktemp("sandbox") / "state"
    labsandbox("up", "--state", str(state), "--detach", "--students", "2")
    try:
        yield Platform(state, environment(state))
    finally:
        labsandbox("down", "--state", str(state))
    assert family(state) == []


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a site's kustomization: a tenant of two kdclusters, and the hub's namespace."""
    folder = tmp_path_factory.mktemp("site")
    tenant = folder / "tenant"
    tenant.mkdir()
    _write(
        tenant,
        namespace=NAMESPACE,
        resources=[os.path.relpath(KUBERNETES / "tenant", tenant.resolve())],
        patches=[
            _patch("RoleBinding", "hpecp-member", "/subjects/0/name", f"hpecp:{NAMESPACE}:member"),
            _patch("ResourceQuota", "tenant-quota", _COUNT, "2"),
            _patch("PersistentVolumeClaim", "project-repo", _CLASS, "project-repo"),
        ],
    )
    bases = [os.path.relpath(KUBERNETES / name, folder.resolve()) for name in ("rights", "hub")]
    _write(folder, resources=[*bases, "tenant"])
    return folder


@pytest.fixture(scope="module")
def applied(platform: Platform, site: Path) -> str:
    """Apply the site; return what kubectl said."""
    return platform.kubectl.run("apply", "-k", str(site)).stdout


@pytest.fixture(scope="module")
def visit(platform: Platform) -> Iterator[Visit]:
    """Return a visit that has got as far as the cluster."""
    until("the shared cluster", lambda: shared(platform.kubectl) == "configured")
    with visiting(Visit(dict(platform.settings))) as visit:
        states = {found.name: found.state for found in examine(visit, WAY_IN)}
        assert set(states.values()) == {OK}, states
        yield visit


@pytest.fixture
def kubectl(platform: Platform, visit: Visit) -> Kubectl:
    return platform.kubectl


_COUNT = "/spec/hard/count~1kubedirectorclusters.kubedirector.hpe.com"
_CLASS = "/spec/storageClassName"


def _patch(kind: str, name: str, path: str, value: str) -> dict[str, object]:
    operation = [{"op": "replace", "path": path, "value": value}]
    return {"target": {"kind": kind, "name": name}, "patch": yaml.safe_dump(operation)}


def _write(folder: Path, **fields: object) -> None:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(head | fields))
