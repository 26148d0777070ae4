"""When things go wrong: a step that was not done, a session that is over, a worker that is killed.

The story (`stories`) shows that the labs pass. Here their checkpoints fail, as they must."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from kubernetes import client

import labhelpers.cluster
import labhelpers.deadline
from labhelpers import progress
from labhelpers.checkpoint import begin
from labhelpers.cluster import Clients, connect
from labhelpers.environment import settings
from labhelpers.signin import renew
from labkube.errors import SignInNeeded
from labrunner import sandbox
from labrunner.curriculum import load
from tests.labs.checkpoints import Checkpoint, checkpoints, foundations, looks
from tests.labs.emptied import AT_THE_DOOR, LABS, MEASURED, Emptied, names
from tests.labs.platform import Platform
from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

EMPTY = "emptied"  # a namespace in which nobody has ever made anything
SOURCES = {
    lab.id: (ROOT / "notebooks" / "_src" / f"{lab.file}.py").read_text("utf-8")
    for lab in load(ROOT).labs
    if lab.kind == "lab"
}
CHECKPOINTS = [one for lab, source in SOURCES.items() for one in checkpoints(lab, source)]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("trouble")
    with sandbox.running(folder / "state") as found:
        yield Platform(folder / "state", found)


def become_the_learner(platform: Platform, patch: pytest.MonkeyPatch, home: Path) -> None:
    """Take the learner's settings, with a kubeconfig and a progress that nobody else has."""
    for name, value in platform.settings.items():
        if name.startswith(("EZMERAL_", "PROJECT_", "GATEWAY_")):
            patch.setenv(name, value)
    patch.setenv("KUBECONFIG", str(home / "kubeconfig"))
    patch.setenv("LABS_HOME", str(home / "home"))


@pytest.fixture(autouse=True)
def learner(platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    become_the_learner(platform, monkeypatch, tmp_path)
    yield
    begin("")


@pytest.fixture(scope="module")
def over(
    platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, str], Clients]]:
    """Return a session that is over, and the clients a lab made with it."""
    with pytest.MonkeyPatch.context() as patch:
        become_the_learner(platform, patch, tmp_path_factory.mktemp("over"))
        renew()
        lab = connect()
        session = sign_out(settings().kubeconfig)
        labhelpers.deadline.wait("the session to be forgotten", lambda: refusal(lab))
    with lab.core.api_client:
        yield session, lab


def sign_out(kubeconfig: Path) -> dict[str, str]:
    """End the session that a kubeconfig was fetched with; return what it was shown with."""
    found = re.search(r"/api/v2/session/[\w-]+", kubeconfig.read_text("utf-8"))
    assert found is not None
    session = {"X-BDS-SESSION": found[0]}
    place = settings()
    done = requests.delete(place.url + found[0], headers=session, verify=str(place.ca), timeout=30)
    assert done.status_code == 204, done.text
    return session


@pytest.fixture(scope="module")
def nobody(platform: Platform) -> Iterator[Clients]:
    """Return clients of a namespace that is empty."""
    with platform.api() as api:
        core = client.CoreV1Api(api)
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=EMPTY)))
        custom, authorization = client.CustomObjectsApi(api), client.AuthorizationV1Api(api)
        yield Clients(core, client.AppsV1Api(api), custom, authorization, EMPTY)


@pytest.fixture
def lab() -> Iterator[Clients]:
    """Return the clients a lab makes in its set-up, just signed in."""
    renew()
    found = connect()
    with found.core.api_client:
        yield found


@pytest.fixture
def emptied(
    nobody: Clients,
    over: tuple[dict[str, str], Clients],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Emptied]:
    """Return an emptied platform; waiting for it ends at once."""
    session, lab = over
    repository = tmp_path / "project_repo"
    repository.mkdir()
    monkeypatch.setenv("PROJECT_REPO", str(repository))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # its client would ask for minutes
    patient = labhelpers.deadline.wait

    def hurried(*words: Any, **more: Any) -> Any:
        return patient(*words, **more | {"deadline": 0})

    monkeypatch.setattr(labhelpers.deadline, "wait", hurried)
    monkeypatch.setattr(labhelpers.cluster, "wait", hurried)
    with requests.Session() as http:
        http.verify, http.trust_env = str(settings().ca), False
        yield Emptied(settings(), nobody, session, lab, http)


def refusal(lab: Clients) -> SignInNeeded | None:
    """Return what the cluster's clients say once they notice that the session is over."""
    try:
        lab.core.list_namespaced_config_map(lab.namespace)
    except SignInNeeded as error:
        return error
    return None


def judge(checkpoint: Checkpoint, source: str, emptied: Emptied) -> None:
    found = foundations(source)
    found.update(names(emptied, checkpoint.lab, checkpoint.name))  # a lab's functions read them too
    begin(checkpoint.lab)
    looks(checkpoint, found)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda one: f"{one.lab}-{one.name}")
def test_checkpoint_fails_on_an_empty_platform_with_its_hints(
    emptied: Emptied, checkpoint: Checkpoint
) -> None:
    judge(checkpoint, SOURCES[checkpoint.lab], emptied)
    kept = progress.load()[checkpoint.lab][checkpoint.name]
    assert (kept["passed"], kept["failures"]) == (False, 4)


def test_every_lab_has_names_for_an_emptied_platform() -> None:
    assert set(LABS) == set(SOURCES)


def test_every_exception_is_a_checkpoint_of_a_lab() -> None:
    assert {one.name for one in CHECKPOINTS} >= AT_THE_DOOR | set(MEASURED)


THREE = "hint=['a', 'b', 'c']"
BAD = {
    "always true": f"check('x', True, {THREE})",
    "always true, later": f"check('x', lambda: True, {THREE})",
    "never empty enough": f"check('x', lambda: len(rows) >= 0, {THREE})",
    "believes the cell above": f"check('x', lambda: second_file, saw='y', {THREE})",
    "believes a figure": f"check('x', lambda: crowd.failed == 0, {THREE})",
    "without a hint": "check('x', lambda: False)",
    "with an empty hint": "check('x', lambda: False, hint=['a', '', 'c'])",
    "with one hint twice": "check('x', lambda: False, hint=['a', 'b', 'b'])",
    "with two hints": "check('x', lambda: False, hint=['a', 'b'])",
    "of a name nobody makes": f"check('x', lambda: made_by_nobody, {THREE})",
    "of something that has no such part": f"check('x', lambda: crowd.gone, {THREE})",
}
HEADER = "from labhelpers.checkpoint import check\n"


@pytest.mark.parametrize("line", BAD.values(), ids=BAD.keys())
def test_checkpoint_that_cannot_fail_is_found(emptied: Emptied, line: str) -> None:
    (bad,) = checkpoints("core/07", HEADER + line)
    with pytest.raises(AssertionError, match=r"passes where|hint|same twice|not looked at"):
        judge(bad, HEADER + line, emptied)


def test_session_that_ends_in_mid_lab_is_one_sentence_and_renewed_by_one_line(
    lab: Clients,
) -> None:
    """The clients a lab made in its set-up go on: no earlier cell must be run again."""
    name = "kept-over-a-session"
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data={"so": "far"})
    lab.core.create_namespaced_config_map(lab.namespace, body)
    sign_out(settings().kubeconfig)
    with pytest.raises(SignInNeeded, match=r"renew\(\)` in a cell, then this cell again"):
        connect()
    refused = labhelpers.deadline.wait("the session to be forgotten", lambda: refusal(lab))
    assert isinstance(refused, SignInNeeded)
    assert refused._render_traceback_() == [f"SignInNeeded: {refused}"], "a sentence, no stack"
    assert refusal(lab), "asked again, it says the same"
    renew()
    assert lab.core.read_namespaced_config_map(name, lab.namespace).data == {"so": "far"}
