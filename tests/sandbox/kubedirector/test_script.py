"""The shell the operator runs in members, run here with /bin/sh in a folder of its own."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import psutil
import pytest

from labsandbox.kubedirector import script

pytestmark = pytest.mark.fast

SECONDS = 20


def write_package(root: Path, startscript: str, name: str = "/opt/configscript/app.tgz") -> str:
    path = Path(f"{root}{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("app/startscript")
        data = startscript.encode()
        info.size, info.mode = len(data), 0o644
        archive.addfile(info, io.BytesIO(data))
    return f"file://{name}"


def run(root: Path, command: script.Command, limit: int = 256, path: str = "") -> script.Answer:
    """Run a command; the programs in the folder `path` come before the system's."""
    ended = subprocess.run(
        command.words,
        input=command.stdin,
        capture_output=True,
        env={"PATH": f"{path}:{os.environ['PATH']}", "POD_ROOT": str(root)},
        timeout=60,
        check=False,
    )
    return script.read(ended.stdout, ended.stderr, ended.returncode, limit)


def setup(root: Path, path: str = "", **changes: object) -> script.Answer:
    arguments: dict[str, object] = {
        "configmeta": '{"version": "7"}',
        "container": "c1",
        "generation": 1,
        "persistent": False,
        "attempt": "",
        "url": "file:///opt/configscript/app.tgz",
        "configure": True,
        "limit": 256,
        "seconds": SECONDS,
    }
    limit = int(str(changes.get("limit", 256)))
    return run(root, script.setup(**(arguments | changes)), limit, path)


def calls(root: Path) -> list[str]:
    path = root / "calls"
    return path.read_text().splitlines() if path.exists() else []


def begun(root: Path) -> list[psutil.Process]:
    """Return the processes that go on after the command that began them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("POD_ROOT") == str(root):
                found.append(process)
    return found


RECORD = '#!/bin/sh\necho "$@" >> "$POD_ROOT/calls"\n'


def test_setup_runs_configure_and_writes_configmeta(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD + "echo out; echo err >&2")
    answer = setup(tmp_path)
    assert (answer.state, answer.code, answer.generation) == ("exited", 0, 1)
    assert (answer.stdout, answer.stderr) == ("out\n", "err\n")
    assert calls(tmp_path) == ["--configure"]
    assert (tmp_path / "etc/guestconfig/configmeta.json").read_text() == '{"version": "7"}\n'
    copy = tmp_path / "home/guestconfig/configmeta.json"
    assert copy.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "opt/guestconfig/configure.status").read_text() == "c1=0"


def test_setup_run_again_does_not_configure_twice(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD)
    setup(tmp_path)
    assert setup(tmp_path, generation=2).generation == 1
    assert calls(tmp_path) == ["--configure"]


def test_setup_waits_for_a_script_that_runs_already(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD + "sleep 0.5; exit 3")
    assert setup(tmp_path, seconds=0).state == "running"
    answer = setup(tmp_path)
    assert (answer.state, answer.code) == ("exited", 3)
    assert calls(tmp_path) == ["--configure"]


def test_setup_in_a_new_container_starts_afresh(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD)
    setup(tmp_path)
    setup(tmp_path, container="c2")
    assert calls(tmp_path) == ["--configure", "--configure"]


def test_setup_on_kept_storage_is_not_repeated(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD)
    setup(tmp_path, persistent=True)
    answer = setup(tmp_path, persistent=True, container="c2", configmeta='{"version": "8"}')
    assert answer.state == "kept"
    assert calls(tmp_path) == ["--configure"]
    assert "8" in (tmp_path / "etc/guestconfig/configmeta.json").read_text()


def test_setup_is_tried_again_once_for_each_attempt(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD + "exit 1")
    assert setup(tmp_path).code == 1
    assert setup(tmp_path, attempt="c1.2").code == 1
    assert setup(tmp_path, attempt="c1.2").code == 1
    assert calls(tmp_path) == ["--configure", "--configure"]


def test_setup_without_configure_event_only_unpacks(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD)
    answer = setup(tmp_path, configure=False)
    assert (answer.state, answer.code) == ("exited", 0)
    assert calls(tmp_path) == []


def test_setup_without_package_is_skipped(tmp_path: Path) -> None:
    assert setup(tmp_path, url="").state == "skipped"
    assert (tmp_path / "etc/guestconfig/configmeta.json").exists()


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("file:///opt/configscript/none.tgz", "could not be fetched"),
        ("http://127.0.0.1:9/x.tgz", "could not be fetched"),
    ],
)
def test_setup_says_when_the_package_is_missing(tmp_path: Path, url: str, detail: str) -> None:
    answer = setup(tmp_path, url=url)
    assert answer.state == "failed"
    assert detail in answer.detail


def test_setup_says_when_the_package_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "opt/configscript/app.tgz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no archive")
    assert "could not be unpacked" in setup(tmp_path).detail


def test_setup_keeps_only_the_last_lines_of_megabytes(tmp_path: Path) -> None:
    write_package(tmp_path, "#!/bin/sh\nyes 0123456789 | head -c 3000000\necho end\nexit 4")
    answer = setup(tmp_path)
    assert answer.code == 4
    assert len(answer.stdout) <= 256
    assert answer.stdout.startswith("0123456789\n")
    assert answer.stdout.endswith("end\n")


def test_update_replaces_configmeta_and_reconnects_once_for_each_version(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD)
    setup(tmp_path)
    for version in (2, 2, 3):
        command = script.update('{"version": "9"}', "c1", version, 5, True, 256, SECONDS)
        answer = run(tmp_path, command)
        assert (answer.state, answer.code, answer.generation) == ("exited", 0, 5)
    assert calls(tmp_path) == ["--configure", "--reconnect", "--reconnect"]
    assert "9" in (tmp_path / "etc/guestconfig/configmeta.json").read_text()


def test_update_that_hangs_is_reported_and_left_alone(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD + '[ "$1" = --reconnect ] && sleep 1.5; exit 0')
    setup(tmp_path)
    command = script.update("{}", "c1", 2, 5, True, 256, 0)
    assert run(tmp_path, command).state == "running"
    assert run(tmp_path, command).state == "running"
    assert calls(tmp_path) == ["--configure", "--reconnect"]
    deadline = time.monotonic() + 10
    while run(tmp_path, command).state == "running":
        assert time.monotonic() < deadline


def test_notify_passes_the_arguments_once(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD)
    setup(tmp_path)
    command = script.notify("c1=2", ["--addnodes", "--fqdns", "a,b"], 256, SECONDS)
    assert run(tmp_path, command).code == 0
    assert run(tmp_path, command).code == 0
    assert calls(tmp_path) == ["--configure", "--addnodes --fqdns a,b"]


def test_command_cut_short_does_nothing(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD)
    whole = script.setup("{}", "c1", 1, False, "", "file:///x.tgz", True, 256, SECONDS)
    cut = script.Command(whole.words, whole.stdin[:-20])
    assert run(tmp_path, cut).state == "failed"
    assert not (tmp_path / "etc").exists()


def test_inject_downloads_with_mode(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("hello")
    injection = {
        "srcURL": f"file://{source}",
        "destDir": "/data/in",
        "permissions": {"fileMode": 0o640},
    }
    run(tmp_path, script.inject(injection))
    made = tmp_path / "data/in/source.txt"
    assert made.read_text() == "hello"
    assert made.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1])
def test_setup_whose_connection_is_killed_runs_once_all_the_same(
    tmp_path: Path, moment: float
) -> None:
    """A node ends what an exec started, and all its children, when the operator is gone."""
    write_package(tmp_path, RECORD + "sleep 0.3; exit 5")
    command = script.setup(
        "{}", "labs://c1", 1, False, "", "file:///opt/configscript/app.tgz", True, 256, SECONDS
    )
    cut = subprocess.Popen(
        command.words,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "POD_ROOT": str(tmp_path)},
    )
    assert cut.stdin is not None
    cut.stdin.write(command.stdin)
    cut.stdin.close()
    end = time.monotonic() + moment
    while time.monotonic() < end:
        time.sleep(0.001)
    family = [psutil.Process(cut.pid), *psutil.Process(cut.pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    cut.wait()
    answer = run(tmp_path, command)
    assert (answer.state, answer.code) == ("exited", 5)
    assert calls(tmp_path) == ["--configure"]


def test_setup_that_ends_while_its_owner_is_looked_up_is_not_repeated(tmp_path: Path) -> None:
    """The status says "still running", and when the claim is looked at its owner has just ended."""
    write_package(tmp_path, RECORD)
    guest = tmp_path / "opt/guestconfig"
    guest.mkdir(parents=True)
    (guest / "configure.status").write_text("c1=")
    (guest / ".configure.c1.").write_text("999999999\n")
    ended = tmp_path / "bin/ln"
    ended.parent.mkdir()
    ended.write_text(
        f"#!/bin/sh\nprintf 'c1=4' > {guest}/configure.status\nexec {shutil.which('ln')} \"$@\"\n"
    )
    ended.chmod(0o755)
    answer = setup(tmp_path, path=str(ended.parent))
    assert (answer.state, answer.code) == ("exited", 4)
    psutil.wait_procs(begun(tmp_path), 10)
    assert calls(tmp_path) == []


def test_setup_whose_own_process_died_is_begun_again(tmp_path: Path) -> None:
    write_package(tmp_path, RECORD + '[ -e "$POD_ROOT/again" ] || sleep 30')
    assert setup(tmp_path, seconds=0).state == "running"
    deadline = time.monotonic() + 10
    while not calls(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (claim,) = (tmp_path / "opt/guestconfig").glob(".configure.c1.")
    worker = psutil.Process(int(claim.read_text()))
    for process in [worker, *worker.children(recursive=True)]:
        process.kill()
    psutil.wait_procs([worker], 5)
    (tmp_path / "again").touch()
    assert setup(tmp_path).code == 0
    assert calls(tmp_path) == ["--configure", "--configure"]
