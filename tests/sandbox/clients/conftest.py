"""Clients signed in to a server of the session."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.sandbox.clients.kubectl import SUPPORTED, Kubectl, versions
from tests.sandbox.conftest import ApiServer

_numbers = itertools.count(1)
ALWAYS = (SUPPORTED[0], *SUPPORTED[-2:])
NO_KUBECTL = "there is no kubectl on this machine; install one to run the tests of its commands"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of kubectl with every version found."""
    if "kubectl_version" in metafunc.fixturenames:
        found = [_parameter(version) for version in versions()]
        none = pytest.param("", marks=pytest.mark.skip(reason=NO_KUBECTL))
        metafunc.parametrize("kubectl_version", found or [none], scope="session")


def _parameter(version: str) -> ParameterSet:
    """The oldest and the newest versions in every run, those between in the nightly one."""
    marks = [] if version in ALWAYS else [pytest.mark.nightly]
    return pytest.param(version, marks=marks)


@pytest.fixture
def namespace(apiserver: ApiServer, admin: Kubectl) -> str:
    """A namespace of the test's own, with its default service account."""
    name = f"clients-{next(_numbers)}"
    admin.ok("create", "namespace", name)
    admin.ok("--namespace", name, "create", "serviceaccount", "default")
    return name


@pytest.fixture
def admin(apiserver: ApiServer, kubectl_version: str, tmp_path: Path) -> Kubectl:
    """The administrator's kubectl."""
    home = apiserver.state / f"home-{kubectl_version}"
    home.mkdir(exist_ok=True)
    return Kubectl(versions()[kubectl_version], apiserver.kubeconfig, home)


@pytest.fixture
def kubectl(admin: Kubectl, namespace: str) -> Kubectl:
    """The administrator's kubectl in a namespace of the test's own."""
    return Kubectl(admin.program, admin.kubeconfig, admin.home, namespace)
