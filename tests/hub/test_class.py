"""Two learners and an instructor sign in to a real hub over its forms, and meet what is theirs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.classroom_folder import make
from tests.hub.person import Person
from tests.hub.running import Hub, until

pytestmark = pytest.mark.sandbox


def test_learner_signs_in_and_meets_the_start_page(hub: Hub, first: Person) -> None:
    page = first.http.get(f"{first.base}/", timeout=60)
    assert page.url == f"{first.base}/lab/tree/notebooks/00_start_here.ipynb"
    found = first.get("api/contents/notebooks/00_start_here.ipynb?content=0").json()
    assert found["type"] == "notebook"
    names = {one["name"] for one in first.get("api/contents/").json()["content"]}
    assert {"notebooks", "Pictures"} <= names, "pictures lie beside the notebooks that show them"


def test_wrong_password_and_stranger_stay_outside(hub: Hub) -> None:
    for name, password in (("student1", "wrong"), ("student2", "a-long-password-of-student1"),
                           ("stranger", "wrong")):  # fmt: skip
        person = Person(hub.url, name, password)
        answer = person.sign_in()
        assert "Invalid username or password" in answer.text
        assert person.http.get(f"{hub.url}/hub/home", timeout=30).url.startswith(
            f"{hub.url}/hub/login"
        )


def test_nobody_signs_up(hub: Hub) -> None:
    person = hub.person("stranger")
    assert person.http.get(f"{hub.url}/hub/signup", timeout=30).status_code == 404
    assert "signup" not in person.http.get(f"{hub.url}/hub/login", timeout=30).text.lower()


def test_form_without_its_token_is_refused(hub: Hub) -> None:
    person = hub.person("student1")
    form = {"username": person.name, "password": person.password}
    assert person.http.post(f"{hub.url}/hub/login", data=form, timeout=30).status_code == 403


def test_kernel_has_the_learners_settings_and_no_secret(hub: Hub, first: Person) -> None:
    kernel = first.kernel()
    found = json.loads(kernel.run("import json, os; print(json.dumps(dict(os.environ)))"))
    kernel.close()
    home = str(hub.folder / "homes" / "student1")
    assert found["EZMERAL_USER"] == "student1"
    assert found["PROJECT_REPO"].endswith("team-student1")
    for name in ("HOME", "KUBECONFIG", "LABS_HOME", "TMPDIR", "LABS_FOLDER"):
        assert found[name].startswith(home), name
    assert "PASSWORD" not in "".join(found).upper()
    secrets = [(hub.folder / "hub" / name).read_text() for name in ("proxy_token", "cookie_secret")]
    everything = "\n".join(found.values())
    for secret in [*secrets, first.password, hub.person("student2").password]:
        assert secret.strip() not in everything
    assert "CONFIGPROXY_AUTH_TOKEN" not in found
    tokens = [name for name in found if name.endswith("TOKEN")]
    assert set(tokens) <= {"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"}


def test_servers_own_token_opens_nothing_but_the_own(hub: Hub, first: Person) -> None:
    kernel = first.kernel()
    token = kernel.run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")
    kernel.close()
    headers = {"Authorization": f"token {token}"}
    stranger = hub.person("nobody").http
    for path, method, status in [
        ("users", "GET", 403), ("users/student2", "GET", 404), ("proxy", "GET", 403),
        ("users/student2/server", "DELETE", 403), ("shutdown", "POST", 403),
        ("users/student1/tokens", "POST", 403), ("user", "GET", 200),
    ]:  # fmt: skip
        url = f"{hub.url}/hub/api/{path}"
        answer = stranger.request(method, url, headers=headers, json={}, timeout=30)
        assert answer.status_code == status, (path, answer.text)


def test_labs_import_and_the_runner_finds_its_curriculum(first: Person) -> None:
    kernel = first.kernel()
    code = "import labhelpers.checkpoint, subprocess; print(subprocess.run(['labs', 'list'],"
    said = kernel.run(f"{code} capture_output=True, text=True).stdout)")
    kernel.close()
    assert "core/01" in said


def test_kernels_talk_encrypted(hub: Hub, first: Person) -> None:
    kernel = first.kernel()
    file = hub.folder / "homes/student1/.local/share/jupyter/runtime" / f"kernel-{kernel.id}.json"
    connection = json.loads(file.read_text())
    kernel.close()
    assert len(connection["curve_publickey"]) == 40
    assert file.stat().st_mode & 0o77 == 0


def test_instructor_helps_with_servers_and_passwords_but_reads_no_notebooks(
    hub: Hub, second: Person
) -> None:
    instructor = hub.person("instructor")
    instructor.sign_in()
    assert instructor.http.get(f"{hub.url}/hub/admin", timeout=30).status_code == 200
    page = instructor.http.get(f"{hub.url}/hub/change-password/student2", timeout=30)
    assert page.status_code == 200
    assert "student2" in page.text
    page = instructor.http.get(f"{second.base}/lab", timeout=30)
    assert page.status_code == 403
    learner = hub.person("student2")
    learner.sign_in()
    for path in ("admin", "authorize", "change-password/student1"):
        assert learner.http.get(f"{hub.url}/hub/{path}", timeout=30).status_code == 403, path


def test_learner_chooses_a_password_of_their_own(hub: Hub) -> None:
    learner = hub.person("student2")
    learner.sign_in()
    url = f"{hub.url}/hub/change-password"
    for old, new, words in [
        (learner.password, "password", "at least 10 characters and is not too common"),
        ("wrong", "a sentence of mine", "incorrect"),
        (learner.password, "a sentence of mine", "has been changed"),
        ("a sentence of mine", learner.password, "has been changed"),
    ]:
        page = learner.http.get(url, timeout=30)
        token = re.search(r'name="_xsrf"[^>]*value="([^"]*)"', page.text)
        assert token is not None
        form = {
            "_xsrf": token.group(1),
            "old_password": old,
            "new_password": new,
            "new_password_confirmation": new,
        }
        said = learner.http.post(url, data=form, timeout=30)
        assert re.search(words, said.text), (words, said.status_code)


def test_what_the_hub_keeps_is_private(hub: Hub, first: Person) -> None:
    files = [hub.folder / "hub", *(hub.folder / "hub").rglob("*")]
    assert {"jupyterhub.sqlite", "cookie_secret", "proxy_token"} <= {file.name for file in files}
    for file in [*files, hub.folder / "homes" / "student1"]:
        assert file.stat().st_mode & 0o77 == 0, file


def test_hub_listens_on_this_host_alone(hub: Hub, first: Person) -> None:
    ours = {p.pid for part in ("hub", "server") for p in hub.processes(part)}
    assert hub.process is not None
    ours.add(hub.process.pid)
    listening = [line.split() for line in _tcp()]
    inodes = {words[9]: words[1] for words in listening if words[3] == "0A"}
    found = {inodes[inode] for pid in ours for inode in _sockets(pid) if inode in inodes}
    assert found, "nothing was found to listen"
    assert {address.partition(":")[0] for address in found} == {"0100007F"}


def _tcp() -> list[str]:
    return Path("/proc/net/tcp").read_text().splitlines()[1:]


def _sockets(pid: int) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = entry.readlink().name
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append(target[8:-1])
    return found


def test_log_of_a_learners_server_says_why_it_does_not_start(hub: Hub, first: Person) -> None:
    log = hub.folder / "hub" / "servers" / "student1.log"
    until(lambda: "Jupyter Server" in log.read_text(), "the log tells of the start", 10)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all these tests already")
def test_ordinary_user_holds_a_class_too(tmp_path: Path) -> None:
    become = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if shutil.which("unshare") is None or subprocess.run([*become, "true"], check=False).returncode:
        pytest.skip("this machine makes no user namespaces")
    hub = Hub(make(tmp_path / "class", students=1), become=become)
    try:
        person = hub.start().person("student1")
        person.sign_in()
        person.start_server()
        kernel = person.kernel()
        secret = hub.folder / "credentials.csv"
        said = kernel.run(f"import os; print(os.getuid()); open({str(secret)!r})")
        kernel.close()
        assert said.startswith("1000\nPermissionError")
    finally:
        hub.close()
