"""`labs doctor --platform`: on a platform that is well, and where the way in is broken."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from labclass.checkup import kubeconfig, looks, rights
from labclass.checkup.finding import ADVICE, MISSING, OK, SKIPPED, Finding
from labclass.checkup.looks import Look, examine
from labclass.checkup.visit import Visit, settings_of, visiting
from labrunner import cli
from labsandbox import ports
from tests.deploy.kubectl import Kubectl
from tests.deploy.running import Platform
from tests.deploy.visits import TENANT, WAY_IN, look, one
from tests.labapps.tls import certificate
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]


def settings_file(platform: Platform, folder: Path, **changed: str) -> Path:
    path = folder / "platform.env"
    lines = [f"{name}={value}" for name, value in (platform.settings | changed).items()]
    path.write_text("\n".join(lines))
    return path


def objects(kubectl: Kubectl) -> set[str]:
    kinds = "pods,services,configmaps,secrets,kubedirectorclusters,kubedirectorapps"
    return set(kubectl.run("get", kinds, "-n", TENANT, "-o", "name").stdout.split())


def test_platform_that_is_well_passes_and_keeps_nothing(
    platform: Platform, kubectl: Kubectl, tmp_path: Path
) -> None:
    before = objects(kubectl), sorted(platform.repository.rglob("*"))
    file = settings_file(platform, tmp_path)
    done = CliRunner().invoke(cli.app, ["doctor", "--platform", str(file), "--students", "2"])
    assert done.exit_code == 0, done.output
    signs = [line[0] for line in done.output.splitlines() if line]
    assert set(signs[:-1]) == {"✓"}, done.output
    assert "The labs can begin." in done.output
    assert (objects(kubectl), sorted(platform.repository.rglob("*"))) == before


def test_json_says_the_same_and_holds_no_secret(
    platform: Platform, kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits: list[Visit] = []
    monkeypatch.setattr(
        "labclass.checkup.command.Visit",
        lambda *words, **more: visits.append(Visit(*words, **more)) or visits[-1],
    )
    file = settings_file(platform, tmp_path)
    words = ["doctor", "--platform", str(file), "--students", "900", "--json"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert [f["name"] for f in document["findings"] if f["state"] != OK] == ["Room"]
    (visit,) = visits
    assert len(visit.secrets) >= 4, "password, session twice, token"
    assert not [secret for secret in visit.secrets if secret in done.output]
    left = requests.get(
        f"{visit.url}/api/v2/session",
        headers={"X-BDS-SESSION": visit.http.headers["X-BDS-SESSION"]},
        verify=platform.settings["EZMERAL_CA"],
        timeout=10,
    )
    assert left.status_code == 401, "the session was signed out"


def test_secret_in_a_servers_words_is_masked(platform: Platform) -> None:
    def chatty(visit: Visit) -> Iterator[Finding]:
        yield Finding("Chatty", MISSING, "silence", f"I was told {sorted(visit.secrets)}", "")

    found = look(platform, Look("Chatty", "cluster", chatty))["Chatty"]
    assert "…" in found.found
    assert Path(platform.settings["EZMERAL_PASSWORD_FILE"]).read_text() not in found.found


def test_settings_that_are_not_there_are_named(platform: Platform) -> None:
    found = look(platform, EZMERAL_TENANT="", PROJECT_REPO="")
    assert found["Settings"].found == "no EZMERAL_TENANT, PROJECT_REPO"
    assert {each.state for name, each in found.items() if name != "Settings"} == {SKIPPED}
    assert look(platform, EZMERAL_URL="http://x")["Settings"].state == MISSING
    example = look(platform, EZMERAL_URL="https://platform.site.example:8080")["Settings"]
    assert "the example's" in example.found


def test_certificate_of_somebody_else_is_not_trusted(platform: Platform, tmp_path: Path) -> None:
    wrong, _ = certificate(tmp_path)
    found = look(platform, EZMERAL_CA=str(wrong))
    assert found["Certificate"].state == ADVICE, "it is valid for an hour"
    assert "its certificate is not trusted" in found["Front door"].found
    assert "another platform" in found["Front door"].cure
    assert found["Sign-in"].state == SKIPPED, "no password was sent"


@pytest.mark.parametrize(
    "path", ["deploy/kubernetes/site-example/ca.crt", "no-such-file", "README.md"]
)
def test_file_that_is_no_certificate_is_named(platform: Platform, path: str) -> None:
    found = look(platform, EZMERAL_CA=str(ROOT / path))["Certificate"]
    assert found.state == MISSING
    assert path in found.found


def test_front_door_that_is_down_is_found(platform: Platform) -> None:
    found = look(platform, EZMERAL_URL=f"https://127.0.0.1:{ports.choose()}")
    assert found["Front door"].found.startswith("nothing answers")
    assert "curl -v" in found["Front door"].cure


def test_something_else_behind_the_address_is_found(platform: Platform, visit: Visit) -> None:
    found = look(platform, EZMERAL_URL=visit.require_api().server)
    assert found["REST API"].state == MISSING
    assert "Something else answers" in found["REST API"].cure


def test_wrong_password_is_said_and_not_repeated(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("not-the-password")
    found = look(platform, EZMERAL_USER="student2", EZMERAL_PASSWORD_FILE=str(file))["Sign-in"]
    assert found.found.startswith("401: The user name or the password is wrong")
    assert "Is it the password of student2?" in found.cure
    assert "not-the-password" not in f"{found}"


def test_password_that_nobody_gives_is_asked_for(platform: Platform) -> None:
    found = look(platform, EZMERAL_PASSWORD_FILE="")["Sign-in"]
    assert found.found == "no EZMERAL_PASSWORD_FILE, and nobody to ask"
    asked: list[str] = []
    right = Path(platform.settings["EZMERAL_PASSWORD_FILE"]).read_text()
    visit = Visit(platform.settings | {"EZMERAL_PASSWORD_FILE": ""})
    visit.ask = lambda prompt: asked.append(prompt) or right  # type: ignore[func-returns-value]
    with visiting(visit):
        states = {found.name: found.state for found in examine(visit, WAY_IN)}
    assert states["Sign-in"] == OK
    assert asked == ["Password of student1: "]


def test_tenant_of_others_is_refused(platform: Platform) -> None:
    found = look(platform, EZMERAL_TENANT="K8sAuditTenant")["Sign-in"]
    assert found.found.startswith("403: student1 is not a member of a tenant")
    assert "Make student1 a member of K8sAuditTenant" in found.cure


def test_instructor_is_told_to_look_as_a_learner(platform: Platform) -> None:
    file = Path(platform.settings["EZMERAL_PASSWORD_FILE"]).with_name("instructor")
    found = look(platform, EZMERAL_USER="instructor", EZMERAL_PASSWORD_FILE=str(file))
    assert (found["Tenant"].state, found["Tenant"].found) == (ADVICE, "Admin of K8sMLTenant")


def test_session_that_ends_in_between_is_said(platform: Platform) -> None:
    def signs_out(visit: Visit) -> Iterator[Finding]:
        visit.call("DELETE", str(visit.http.headers["X-BDS-SESSION"]))
        # The API server remembers a token that was good for a few seconds: take one it never knew.
        visit.require_api().http.headers["Authorization"] = "Bearer of-a-session-that-is-over"
        yield Finding("Signs out", OK, "", "")

    ends = Look("Signs out", "cluster", signs_out)
    again = [Look("Kubeconfig again", "session", kubeconfig.fetched)]
    found = look(platform, ends, Look("Rights", "cluster", rights.needed), *again)
    assert "the session is over" in found["Rights"].found
    assert "Run this again" in found["Rights"].cure
    assert found["Kubeconfig"].found.startswith("401")


def test_plugin_that_is_not_there_is_named(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = look(platform)["Credential"]
    assert "kubectl-hpecp" in found.found or "python" in found.found
    assert "Put" in found.cure
    assert "into the PATH" in found.cure


def test_kubectl_plugin_needs_both_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "kubectl" else None)
    told, problem = kubeconfig._run({"command": "kubectl", "args": ["hpecp", "authenticate"]})
    assert told == {}
    assert problem is not None
    assert problem[0] == "no program kubectl-hpecp"


def test_plugin_that_fails_is_quoted() -> None:
    script = "echo first >&2; echo 'kubectl-hpecp: Your session is over.' >&2; exit 1"
    _, problem = kubeconfig._run({"command": "sh", "args": ["-c", script]})
    assert problem is not None
    assert problem[0] == "sh failed: kubectl-hpecp: Your session is over."


def test_answer_in_another_form_is_told_as_such(visit: Visit) -> None:
    def odd(visit: Visit) -> Iterator[Finding]:
        raise KeyError("expiry_time")
        yield

    found = one(looks._looked(Look("Odd", "", odd), visit))
    assert found.found == "KeyError: 'expiry_time'"
    assert found.state == MISSING


def test_environment_says_what_the_file_does_not(tmp_path: Path) -> None:
    file = tmp_path / "platform.env"
    file.write_text("EZMERAL_URL=https://here\nEZMERAL_CA=/nowhere/ca.crt\n")
    (tmp_path / "ca.crt").touch()
    told = {"EZMERAL_USER": "ann", "EZMERAL_URL": "https://there", "PATH": os.defpath}
    found = settings_of(file, told)
    assert found["EZMERAL_USER"] == "ann"
    assert found["EZMERAL_URL"] == "https://here"
    assert found["EZMERAL_CA"] == str(tmp_path / "ca.crt")
    assert "PATH" not in found
