"""Two learners under one Unix user cannot get at each other, nor at what is the class's."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labclass import isolation
from labsandbox.node import view
from tests.hub.person import Kernel, Person
from tests.hub.running import Hub, until

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(not isolation.version(), reason="this kernel has no Landlock"),
]

# Tries each expression and prints what came of it, as JSON.
PROBE = """
import ctypes, json, os, signal, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *words):
    if getattr(libc, name)(*words) < 0:
        raise OSError(ctypes.get_errno(), name)
def tried(code):
    try:
        return "open: " + repr(eval(code))[:200]
    except Exception as error:
        return "shut: " + type(error).__name__
print(json.dumps({{code: tried(code) for code in {codes!r}}}))
"""


@pytest.fixture(scope="module")
def eve(first: Person) -> Iterator[Kernel]:
    """Return a kernel of student1, who is curious."""
    kernel = first.kernel()
    yield kernel
    kernel.close()


@pytest.fixture(scope="module")
def victim(second: Person) -> Iterator[Kernel]:
    """Return a kernel of student2, who has something to hide."""
    kernel = second.kernel()
    kernel.run("import os; open(os.path.expanduser('~/diary.txt'), 'w').write('s3cret')")
    kernel.run("open(os.environ['PROJECT_REPO'] + '/model', 'w').write('s3cret')")
    yield kernel
    kernel.close()


def probe(kernel: Kernel, *codes: str) -> dict[str, str]:
    """Try expressions in a kernel."""
    return dict(json.loads(kernel.run(PROBE.format(codes=list(codes))).splitlines()[-1]))


def shut(found: dict[str, str]) -> list[str]:
    """Return the expressions that were not refused for lack of permission."""
    return [f"{c} -> {said}" for c, said in found.items() if said != "shut: PermissionError"]


def test_probe_reports_an_open_door(eve: Kernel) -> None:
    assert shut(probe(eve, "open('/etc/hosts').read()", "1 / 0"))[0].startswith("open('/etc/hosts'")


def test_files_of_the_neighbour_the_class_and_the_platform_stay_shut(
    hub: Hub, eve: Kernel, victim: Kernel
) -> None:
    folder = hub.folder
    files = [
        *("homes/student2/diary.txt", "platform/projects/team-student2/model"),
        *("credentials.csv", "class.json", "learners/student1.env", "learners/student2.env"),
        *("platform/admin.conf", "hub/jupyterhub.sqlite", "hub/cookie_secret", "hub/proxy_token"),
        *("hub/servers/student2.log", "hub/servers/student1.log", "hub/issued.json"),
    ]
    reads = [f"open({str(folder / name)!r}).read()" for name in files]
    for name in files:
        assert (folder / name).exists(), name
    folders = ["", "hub", "homes", "homes/student2", "learners", "platform"]
    lists = [f"os.listdir({str(folder / name)!r})" for name in folders]
    assert shut(probe(eve, *reads, *lists)) == []
    assert victim.run("print(open(os.path.expanduser('~/diary.txt')).read())") == "s3cret"


def test_nothing_outside_the_own_places_is_written(hub: Hub, eve: Kernel) -> None:
    folder, root = hub.folder, isolation.ROOT
    name = f"written-by-{os.getpid()}"
    own, others = folder / "homes" / "student1", folder / "homes" / "student2"
    places = [
        *(
            others / name,
            folder / name,
            folder / "checkout" / name,
            folder / "collection.git" / name,
        ),
        *(root / name, Path("/tmp", name), Path("/dev/shm", name), Path("/usr", name)),
    ]
    writes = [f"open({str(place)!r}, 'w')" for place in places]
    more = [
        f"os.truncate({str(others / 'diary.txt')!r}, 0)",
        f"os.rename({str(others)!r}, {str(own / 'x')!r})",
        f"os.unlink({str(folder / 'credentials.csv')!r})",
    ]
    try:
        found = shut(probe(eve, *writes, *more))
        # What is not one's own is read-only where the machine has mount namespaces, and a rename
        # between two places is refused as if they were two disks.
        assert [line for line in found if not line.endswith("-> shut: OSError")] == []
        assert [place for place in places if place.exists()] == []
    finally:
        for place in places:
            place.unlink(missing_ok=True)
    assert probe(eve, "open(os.path.expanduser('~/own'), 'w').write('x')").popitem()[1] == "open: 1"


def test_neighbours_processes_can_be_neither_read_nor_traced_nor_ended(
    hub: Hub, eve: Kernel, victim: Kernel
) -> None:
    server = hub.server("student2")
    kernel = int(victim.run("print(os.getpid())"))
    warden = server.ppid()
    assert hub.process is not None
    pids = [server.pid, kernel, warden, hub.process.pid, hub.proxy().pid, 1]
    codes = []
    for pid in pids:
        codes += [f"open('/proc/{pid}/{name}', 'rb').read(1)" for name in ("environ", "mem")]
        codes += [f"os.readlink('/proc/{pid}/{name}')" for name in ("cwd", "fd/0")]
        codes += [f"call('ptrace', 0x4206, {pid}, 0, 0)"]  # seize: stops nobody, if it succeeds
        if isolation.version() >= isolation.SIGNALS:
            codes += [f"os.kill({pid}, 0)"]
    assert shut(probe(eve, *codes)) == []
    assert victim.run("print('alive')") == "alive"


def test_no_unconfined_program_can_be_asked_to_act(eve: Kernel) -> None:
    found = probe(
        eve,
        "socket.socket(socket.AF_UNIX)",
        "call('syscall', 425, 1, 0)",
        "open('/proc/self/status').read().split('CapBnd:')[1].split()[0]",
        "open('/proc/self/status').read().split('CapEff:')[1].split()[0]",
    )
    said = list(found.values())
    assert said[0] == "shut: PermissionError"
    assert said[1] == "shut: OSError"
    assert said[3] == f"open: '{'0' * 16}'"


def test_what_a_learner_needs_stays_open(hub: Hub, eve: Kernel) -> None:
    own = "os.path.expandvars('$PROJECT_REPO/own')"
    found = probe(
        eve,
        f"open({own}, 'w').write('x')",
        "open(os.path.expanduser('~/labs/new.txt'), 'w').write('x')",
        "__import__('tempfile').TemporaryFile().write(b'x')",
        "socket.create_server(('127.0.0.1', 0)).getsockname()[0]",
        "subprocess.run(['git', '-C', os.environ['LABS_FOLDER'], 'status'], check=True).returncode",
        "subprocess.run('echo $((1 + 1))', shell=True, capture_output=True).stdout",
        "os.kill(os.getppid(), 0)",
        "__import__('asyncio').new_event_loop().close()",
        "open('/etc/ssl/certs/ca-certificates.crt').read(5)",
    )
    assert [f"{c} -> {said}" for c, said in found.items() if not said.startswith("open")] == []


# The server itself


def test_neighbours_server_refuses_through_the_proxy(first: Person, second: Person) -> None:
    answer = first.get("api/contents", base=second.base)
    assert answer.status_code == 403
    assert "diary" not in answer.text
    page = first.http.get(f"{second.base}/lab", timeout=30)
    assert page.status_code == 403


def test_neighbours_server_refuses_on_its_own_port(
    hub: Hub, first: Person, second: Person, eve: Kernel
) -> None:
    listens = [c for c in hub.server("student2").net_connections("tcp") if c.status == "LISTEN"]
    ports = {connection.laddr.port for connection in listens}
    token = eve.run("print(os.environ['JUPYTERHUB_API_TOKEN'])")
    for port in ports:
        for headers in ({}, {"Authorization": f"token {token}"}):
            address = f"http://127.0.0.1:{port}/user/student2/api/contents"
            answer = first.http.get(address, headers=headers, timeout=30)
            assert answer.status_code == 403, (port, answer.text[:200])


def test_proxy_takes_no_orders_from_learners(hub: Hub, eve: Kernel) -> None:
    port = json.loads((hub.folder / "hub" / "ports.json").read_text())["proxy"]
    code = "__import__('requests').{verb}('http://127.0.0.1:{port}/api/routes', {more}).status_code"
    asked = [
        code.format(verb="get", port=port, more="timeout=9"),
        code.format(verb="post", port=port, more="json={'target': 'http://x'}, timeout=9"),
    ]
    assert set(probe(eve, *asked).values()) == {"open: 403"}


def test_neighbours_kernel_cannot_be_listened_to(hub: Hub, eve: Kernel, victim: Kernel) -> None:
    """Without encryption, whoever connects to a kernel's port hears all it prints."""
    runtime = hub.folder / "homes/student2/.local/share/jupyter/runtime"
    (file,) = runtime.glob(f"kernel-{victim.id}.json")
    port = json.loads(file.read_text())["iopub_port"]
    eve.run(
        "import zmq; context = zmq.Context(); ear = context.socket(zmq.SUB); ear.subscribe(b'');"
        f"ear.connect('tcp://127.0.0.1:{port}')"
    )
    for _ in range(3):
        victim.run("print('the password is s3cret')")
    assert eve.run("print(ear.poll(1500))") == "0"


# Terminals


class Terminal:
    """A terminal of somebody, kept open."""

    def __init__(self, person: Person) -> None:
        self.name = person.post("api/terminals")["name"]
        self._with = person.socket(f"terminals/websocket/{self.name}")
        self._socket = self._with.__enter__()
        self.said = ""

    def type(self, line: str, until_said: str, deadline: float = 30.0) -> str:
        """Type a line and wait for words."""
        self._socket.send(json.dumps(["stdin", f"{line}\r"]))
        end = time.monotonic() + deadline
        while until_said not in self.said:
            kind, *words = json.loads(self._socket.recv(timeout=max(end - time.monotonic(), 0.1)))
            self.said += words[0] if kind == "stdout" else ""
        return self.said

    def close(self) -> None:
        self._with.__exit__(None, None, None)


def test_terminal_is_confined_and_nobody_else_opens_it(
    hub: Hub, first: Person, second: Person, eve: Kernel
) -> None:
    theirs, own = Terminal(second), Terminal(first)
    try:
        said = theirs.type("echo at:$(tty):$((1+1))", ":2\r\n")
        found = re.search(r"at:(/dev/pts/\d+):2", said)
        assert found is not None, said
        opened = f"os.open({found.group(1)!r}, os.O_RDWR | os.O_NOCTTY)"
        refused = probe(eve, f"os.write({opened}, b'intruder')").popitem()[1]
        # With terminals of one's own, the same name is nothing or another one's.
        assert view.is_possible() or refused == "shut: OSError"
        assert "intruder" not in theirs.type("echo still:$((1+2))", "still:3")
        said = own.type("echo labs:$(command -v labs):$((3+3))", ":6\r\n")
        assert f"labs:{Path(sys.executable).with_name('labs')}:6" in said
        said = own.type(f"cat {hub.folder}/credentials.csv; echo end:$((2+2))", "end:4")
        assert "Permission denied" in said
        assert "a-long-password" not in said
    finally:
        theirs.close()
        own.close()
    until(lambda: hub.server("student1").is_running(), "the server goes on", 5)
