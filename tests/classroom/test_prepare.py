"""`labs class --prepare-only` against a real platform: accounts, tenants, shut doors."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from kubernetes import client, config

from labclass import front
from labclass.front import PlatformRefused
from tests.classroom.class_ import (
    family,
    labs_class,
    settings,
    sheet,
    sign_in,
    start,
    until,
)

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a prepared class of two whose platform goes on."""
    place = tmp_path_factory.mktemp("class") / "class"
    try:
        labs_class(place, "--students", "2", "--prepare-only", "--keep")
        yield place
    finally:
        assert "Stopped" in labs_class(place, "--down")
        assert family(place) == []


@pytest.fixture(scope="module")
def platform(folder: Path) -> Path:
    """Return a file with the settings of that platform, as an administrator would hand it over."""
    file = folder / "platform" / "platform.env"
    assert file.is_file()
    return file


def api(folder: Path, name: str) -> client.ApiClient:
    """Return a connection with a learner's own kubeconfig."""
    place = settings(folder, name)
    session = {"X-BDS-SESSION": sign_in(folder, name).headers["Location"]}
    url = f"{place['EZMERAL_URL']}/api/v2/k8skubeconfig?token=true"
    answer = requests.get(url, headers=session, verify=place["EZMERAL_CA"], timeout=30)
    return config.new_client_from_config_dict(yaml.safe_load(answer.text))


def test_each_learner_signs_in_with_what_stands_on_the_card(folder: Path) -> None:
    facts = json.loads((folder / "class.json").read_text())
    assert [one["name"] for one in facts["students"]] == ["student1", "student2"]
    assert facts["instructors"] == ["instructor"]
    cards = (folder / "cards.html").read_text()
    for name in ("student1", "student2"):
        assert sign_in(folder, name).status_code == 201
        assert sheet(folder)[name] in cards
    assert sign_in(folder, "instructor", "Team-student2").status_code == 201, "to help there"


def test_learners_see_nothing_of_each_other(folder: Path) -> None:
    assert sign_in(folder, "student1", "Team-student2").status_code == 403
    assert sign_in(folder, "student1", "K8sMLTenant").status_code == 403
    with api(folder, "student1") as mine:
        core = client.CoreV1Api(mine)
        assert core.list_namespaced_pod("team-student1").items, "the own training cluster"
        for namespace in ("team-student2", "k8smltenant", "k8saudittenant"):
            with pytest.raises(client.ApiException, match="forbidden"):
                core.list_namespaced_secret(namespace)
    repositories = [settings(folder, name)["PROJECT_REPO"] for name in ("student1", "student2")]
    assert len(set(repositories)) == 2
    assert all(Path(one).is_dir() for one in repositories)


def test_tenant_has_what_the_labs_look_for(folder: Path) -> None:
    with api(folder, "student2") as mine:
        custom = client.CustomObjectsApi(mine)
        where = {"group": "kubedirector.hpe.com", "version": "v1beta1"}
        apps = custom.list_namespaced_custom_object(
            namespace="team-student2", plural="kubedirectorapps", **where
        )
        assert {app["metadata"]["name"] for app in apps["items"]} >= {
            "jupyter-notebook",
            "training-engine",
            "deployment-engine",
        }
        shared = custom.get_namespaced_custom_object(
            namespace="team-student2",
            plural="kubedirectorclusters",
            name="training-engine-shared",
            **where,
        )
        assert shared["status"]["state"] == "configured"
        core = client.CoreV1Api(mine)
        core.read_namespaced_secret("hpecp-ext-auth-secret", "team-student2")
        quota = core.list_namespaced_resource_quota("team-student2").items[0].spec.hard
        assert int(quota["pods"]) < 60, "a quota for one learner, not for the class"


def test_node_promises_room_for_everybody(folder: Path) -> None:
    with config.new_client_from_config(str(folder / "platform" / "admin.conf")) as all_:
        status = client.CoreV1Api(all_).list_node().items[0].status
    assert int(status.allocatable["cpu"]) >= 80 > int(status.capacity["cpu"])


def test_second_call_keeps_passwords_and_adds_who_is_missing(folder: Path) -> None:
    before = sheet(folder)
    words = labs_class(folder, "--students", "3", "--prepare-only", "--keep")
    assert "3 learners" in words
    after = sheet(folder)
    assert {name: after[name] for name in before} == before
    assert sign_in(folder, "student3").status_code == 201
    again = labs_class(folder, "--students", "1", "--prepare-only", "--keep")
    assert "nobody was removed" in again
    assert sheet(folder) == after
    assert sign_in(folder, "student3").status_code == 201


def test_instructor_sets_which_copy_of_a_lab_is_opened_first(folder: Path) -> None:
    def practises() -> bool:
        return settings(folder, "student1").get("LABS_PRACTICE") == "1"

    assert not practises()
    for words, wanted in ((["--practice"], True), ([], True), (["--guided"], False)):
        labs_class(folder, "--students", "2", "--prepare-only", "--keep", *words)
        assert practises() is wanted


def test_new_password_on_the_sheet_is_for_the_hub_and_it_is_said(folder: Path) -> None:
    whole = (folder / "credentials.csv").read_text()
    old = sheet(folder)["student2"]
    (folder / "credentials.csv").write_text(whole.replace(old, "another-long-password"))
    said = labs_class(folder, "--prepare-only", "--keep")
    assert "Expected the password of the sheet for student2" in said
    assert sheet(folder)["student2"] == "another-long-password"
    (folder / "credentials.csv").write_text(whole)


def test_class_in_one_tenant_shares_it(folder: Path, platform: Path, tmp_path: Path) -> None:
    place = tmp_path / "class"
    words = ["--tenants", "shared", "--prefix", "pupil", "--platform", str(platform)]
    said = labs_class(place, "--students", "2", "--prepare-only", *words)
    assert "2 learners" in said
    found = [settings(place, name) for name in ("pupil1", "pupil2")]
    assert {one["EZMERAL_TENANT"] for one in found} == {"K8sMLTenant"}
    assert found[0]["PROJECT_REPO"] == found[1]["PROJECT_REPO"]
    assert sign_in(place, "pupil1").status_code == 201
    other = labs_class(place, "--students", "2", "--prepare-only", check=False)
    assert "Expected `--tenants shared`, as this class began" in other
    mixed = labs_class(place, "--students", "2", "--prepare-only", *words[:4], check=False)
    assert "found a platform of its own" in mixed


def test_names_of_others_are_refused_before_anything_is_made(
    folder: Path, platform: Path, tmp_path: Path
) -> None:
    words = ["--prepare-only", "--platform", str(platform), "--students", "2"]
    said = labs_class(tmp_path / "class", *words, check=False)
    assert "found accounts of others: student1, student2" in said
    assert "--prefix" in said


def test_platform_that_does_not_answer_is_named(
    folder: Path, platform: Path, tmp_path: Path
) -> None:
    away = tmp_path / "away.env"
    away.write_text(platform.read_text() + "EZMERAL_URL=https://127.0.0.1:1\n")
    words = ["--prepare-only", "--students", "1", "--platform", str(away)]
    said = labs_class(tmp_path / "class", *words, check=False)
    assert "Expected the platform to answer at https://127.0.0.1:1" in said
    assert "refused" in said


def test_wrong_password_of_the_administrator_is_said_once(
    folder: Path, platform: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not-it")
    file = tmp_path / "real.env"
    file.write_text(platform.read_text() + f"EZMERAL_ADMIN_PASSWORD_FILE={wrong}\n")
    words = ["--prepare-only", "--students", "1", "--platform", str(file)]
    said = labs_class(tmp_path / "class", *words, check=False)
    assert "found HTTP 401: The user name or the password is wrong." in said
    assert "not-it" not in said


def test_certificate_of_another_platform_is_refused(folder: Path, tmp_path: Path) -> None:
    place = settings(folder, "student1")
    other = Path(requests.certs.where())
    with pytest.raises(PlatformRefused, match="EZMERAL_CA"):
        front.FrontDoor(place["EZMERAL_URL"], str(other), "student1", "x")


def test_class_killed_while_it_is_prepared_loses_nothing(
    folder: Path, platform: Path, tmp_path: Path
) -> None:
    place = tmp_path / "class"
    words = ["--prefix", "late", "--students", "3", "--prepare-only", "--platform", str(platform)]
    known: dict[str, str] = {}
    for pause in (0.0, 0.4, 1.0):
        process = start(place, *words)
        until("the sheet", (place / "credentials.csv").is_file)
        time.sleep(pause)  # the moment of the kill, not a wait for anything
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = sheet(place)
        assert known.items() <= now.items()
        known = now
    labs_class(place, *words)
    assert sheet(place) == known
    assert [sign_in(place, f"late{number}").status_code for number in (1, 2, 3)] == [201] * 3
