"""Whatever is killed with -9, everybody gets on afterwards and nothing is left over."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from labclass import collection, leftovers
from labclass.spawner import LearnerSpawner
from labrunner import release
from tests.classroom_folder import commit, free_port, make
from tests.hub.person import Person
from tests.hub.running import ROOT, Hub, until

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of which an instructor changes and publishes the labs."""
    root = tmp_path_factory.mktemp("course")
    for name, content in release.files(ROOT).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    commit(root)
    collection.publish(root / "bare", root)
    return root


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, course: Path) -> Iterator[Hub]:
    """Return a hub to kill, with TLS; each test finds it running and leaves it running."""
    encrypted = {"url": f"https://127.0.0.1:{free_port()}", "bind": "127.0.0.1"}
    folder = make(tmp_path_factory.mktemp("recovery") / "class", hub=encrypted)
    running = Hub(folder, {"LABS_COLLECTION": f"file://{course / 'bare'}"})
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture
def learner(hub: Hub) -> Person:
    """Return student1 in their running server."""
    person = hub.person("student1")
    person.sign_in()
    person.start_server()
    return person


def test_cookies_of_an_encrypted_hub_never_travel_in_the_open(learner: Person) -> None:
    cookies = list(learner.http.cookies)
    assert {"jupyterhub-session-id", "jupyterhub-user-student1"} <= {c.name for c in cookies}
    # _xsrf opens nothing: it shows that a form was sent by a page of the hub.
    assert {cookie.name for cookie in cookies if not cookie.secure} <= {"_xsrf"}


def test_killed_hub_is_started_again_and_takes_the_servers_over(hub: Hub, learner: Person) -> None:
    kernel = learner.kernel()
    kernel.run("kept = 42")
    server, proxy = hub.server("student1"), hub.proxy()
    hub.stop(signal.SIGKILL)
    assert kernel.run("print(kept)") == "42", "a kernel goes on while there is no hub"
    services = [one for one in hub.processes("hub") if one.pid != proxy.pid]
    psutil.wait_procs(services, timeout=20)
    until(lambda: hub.processes("hub") == [proxy], "services end with the hub", 20)

    hub.start()
    assert hub.server("student1") == server, "the server is the same process"
    assert not proxy.is_running()
    learner.until_served()  # with the cookie of before: nobody signs in again
    kernel.close()
    again = learner.reopened(kernel)
    assert again.run("print(kept)") == "42"
    again.close()


def test_killed_proxy_is_replaced(hub: Hub, learner: Person) -> None:
    before = hub.proxy()
    before.kill()
    until(lambda: _proxy_other_than(hub, before), "there is another proxy")
    learner.until_served()


def _proxy_other_than(hub: Hub, before: psutil.Process) -> bool:
    try:
        return hub.proxy().pid != before.pid
    except (StopIteration, psutil.Error):
        return False


def test_killed_server_leaves_nothing_and_starts_again(hub: Hub, learner: Person) -> None:
    kernel = learner.kernel()
    kernel.run("import subprocess; subprocess.Popen(['setsid', 'sleep', '1000'], env={})")
    kernel.close()
    server = hub.server("student1")
    warden = server.parent()
    assert warden is not None
    until(lambda: "sleep" in _names_below(warden), "what the kernel started has become `sleep`")
    below = warden.children(recursive=True)
    server.kill()
    _, alive = psutil.wait_procs([*below, warden], timeout=20)
    assert alive == []
    page = learner.http.get(f"{learner.base}/lab", timeout=30)
    assert page.url.startswith(f"{hub.url}/hub") or page.status_code == 503
    until(lambda: not _is_served(learner), "the hub has noticed")
    learner.start_server()
    assert hub.server("student1").pid != server.pid


def _names_below(process: psutil.Process) -> list[str]:
    names = []
    for one in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            names.append(one.name())
    return names


def _is_served(learner: Person) -> bool:
    """Say whether the hub believes that a learner's server runs."""
    page = learner.http.get(f"{learner.url}/hub/home", timeout=30)
    return 'id="stop"' in page.text


def test_idle_server_is_ended_and_its_learner_stays_signed_in(hub: Hub) -> None:
    hub.environment["LABS_CLASS_IDLE_SECONDS"] = "3"
    try:
        hub.stop()
        until(lambda: not hub.processes(), "a hub that is stopped ends the learners' servers", 30)
        until(lambda: not hub.processes("hub"), "nothing of the hub is left", 90)
        hub.start()
        person = hub.person("student2")
        person.sign_in()
        # It may be ended as soon as it is up, before the request is answered: look all the while.
        asking = threading.Thread(
            target=person.http.get, args=(f"{hub.url}/hub/spawn",), kwargs={"timeout": 120}
        )
        asking.start()
        until(lambda: bool(hub.processes()), "the server has begun", 60)
        asking.join()
        until(lambda: not hub.processes(), "the server was ended", 120)
        assert person.http.get(f"{hub.url}/hub/home", timeout=30).url == f"{hub.url}/hub/home"
    finally:
        del hub.environment["LABS_CLASS_IDLE_SECONDS"]
        hub.stop()
        hub.start()


def test_each_start_brings_what_is_new_and_keeps_what_was_edited(
    hub: Hub, learner: Person, course: Path
) -> None:
    edited, other = (
        "notebooks/core/01_authenticate.ipynb",
        "notebooks/core/02_deploy_notebook.ipynb",
    )
    labs = hub.folder / "homes" / "student1" / "labs"
    mine = (labs / edited).read_text().replace("Authenticate", "MY NOTES", 1)
    (labs / edited).write_text(mine)
    for name in (edited, other):
        text = (course / name).read_text()
        (course / name).write_text(text.replace("What you will build", "Corrected upstream", 1))
    commit(course)
    collection.publish(course / "bare", course)
    learner.stop_server()
    until(lambda: not _is_served(learner), "the server has ended")
    learner.start_server()
    assert (labs / edited).read_text() == mine
    assert (labs / other).read_text() == (course / other).read_text()


def test_class_that_was_killed_is_swept_whole(hub: Hub, learner: Person) -> None:
    hub.stop(signal.SIGKILL)
    try:
        assert hub.processes()
        assert leftovers.sweep(hub.folder, servers=True) > 0
        assert hub.processes() == []
        assert hub.processes("hub") == []
    finally:
        hub.start()


def test_process_id_of_before_a_reboot_is_not_taken_for_a_server() -> None:
    pid = psutil.Process().pid
    for began, taken in ((leftovers.began(pid), pid), ("another boot 1", 0)):
        spawner = LearnerSpawner.__new__(LearnerSpawner)
        spawner.user = SimpleNamespace(name="student1")
        spawner.load_state({"pid": pid, "began": began})
        assert spawner.pid == taken
