"""The keeper: containers, their output and their ends, with nobody listening and after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from labsandbox.node import landlock, processes
from labsandbox.node.supervisor import KeeperError, Supervisor

pytestmark = pytest.mark.fast


class Node:
    """A keeper in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"test-{folder.name}-{os.getpid()}"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(self.folder, self.mark)
        await supervisor.connect()
        try:
            yield supervisor
        finally:
            await supervisor.close()

    def id(self, name: str) -> str:
        """Return what no other container of the machine is called: its end is looked for there."""
        return f"{self.mark}-{name}"

    def request(self, name: str, script: str, **more: Any) -> dict[str, Any]:
        folder = self.folder / name
        (folder / "root").mkdir(parents=True, exist_ok=True)
        spec = {
            "id": self.id(name),
            "log": str(folder / "0.log"),
            "exit": str(folder / "0.exit"),
            "folder": str(folder),
            "program": "/bin/sh",
            "argv": ["sh", "-c", script],
            "cwd": [str(folder / "root")],
            "confine": True,
            "read": [["/usr"], ["/bin"], ["/lib"], ["/lib64"], ["/etc"], ["/proc"]],
            "write": [[str(folder / "root")], ["/dev/null"]],
            "env": {
                "PATH": os.defpath,
                processes.NODE_MARK: self.mark,
                processes.CONTAINER_MARK: self.id(name),
            },
            **more,
        }
        path = folder / "start.json"
        path.write_text(json.dumps(spec))
        return {"op": "start", "spec": str(path)}

    def log(self, name: str) -> str:
        lines = (self.folder / name / "0.log").read_text().splitlines()
        return "\n".join(line.split(" ", 3)[3] for line in lines)

    def pids(self) -> list[int]:
        return processes.find_marked(processes.NODE_MARK, self.mark)

    def keeper(self) -> int:
        return next(pid for pid in self.pids() if b"keeper" in _command(pid))


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    found = Node(tmp_path)
    yield found
    processes.kill_node(found.mark)


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen")


def test_start_tells_output_and_exit_code(node: Node) -> None:
    async def play() -> dict[str, Any]:
        async with node.connected() as keeper:
            await keeper.ask(node.request("a", "echo out; echo err >&2; printf end; exit 3"))
            return await keeper.exit_of(node.id("a"))

    end = asyncio.run(play())
    assert (end["code"], end["signal"]) == (3, None)
    assert sorted(node.log("a").splitlines()) == ["end", "err", "out"]
    assert not (node.folder / "a" / "start.json").exists()


def test_start_unknown_program_is_an_error_with_its_number(node: Node) -> None:
    async def play() -> None:
        async with node.connected() as keeper:
            await keeper.ask(node.request("a", "", program="/no/such"))

    with pytest.raises(KeeperError, match="No such file") as caught:
        asyncio.run(play())
    assert caught.value.number == 2


def test_end_takes_everything_the_container_started_with_it(node: Node) -> None:
    script = "setsid sleep 1000 & (sleep 1000 &) ; sleep 1000 & exit 0"

    async def play() -> None:
        async with node.connected() as keeper:
            await keeper.ask(node.request("a", script))
            await keeper.exit_of(node.id("a"))

    asyncio.run(play())
    assert node.pids() == [node.keeper()]


def test_containers_live_on_without_the_agent_and_their_end_is_kept(node: Node) -> None:
    async def begin() -> None:
        async with node.connected() as keeper:
            await keeper.ask(node.request("a", "read line < go; echo $line; exit 7"))

    os.makedirs(node.folder / "a" / "root")
    os.mkfifo(node.folder / "a" / "root" / "go")
    asyncio.run(begin())
    (node.folder / "a" / "root" / "go").write_text("while nobody listened\n")
    until((node.folder / "a" / "0.exit").exists, "the end")
    assert json.loads((node.folder / "a" / "0.exit").read_text())["code"] == 7
    assert node.log("a") == "while nobody listened"


def test_killed_keeper_is_replaced_and_no_line_is_lost(node: Node) -> None:
    script = (
        "n=0; while [ $n -lt 200 ]; do echo line $n; n=$((n+1)); sleep 0.005; done; read x < go"
    )

    async def play() -> tuple[dict[str, Any], dict[str, Any]]:
        async with node.connected() as keeper:
            started = await keeper.ask(node.request("a", script))
            back = asyncio.Event()

            async def replaced() -> None:
                back.set()

            keeper.on_new_keeper = replaced
            os.kill(node.keeper(), signal.SIGKILL)
            await asyncio.wait_for(back.wait(), 10)
            folder = node.folder / "a"
            request = {"op": "adopt", "id": node.id("a"), "folder": str(folder)}
            request |= {"log": str(folder / "0.log"), "exit": str(folder / "0.exit")}
            request |= {"pid": started["pid"], "start": started["start"]}
            found = await keeper.ask(request)
            (folder / "root" / "go").write_text("\n")
            return found, await keeper.exit_of(node.id("a"))

    os.makedirs(node.folder / "a" / "root")
    os.mkfifo(node.folder / "a" / "root" / "go")
    found, end = asyncio.run(play())
    assert found["state"] == "adopted"
    assert end["code"] is None  # Only its first parent could have been told.
    assert node.log("a").splitlines() == [f"line {n}" for n in range(200)]


def test_adopt_dead_process_says_so(node: Node) -> None:
    async def play() -> dict[str, Any]:
        async with node.connected() as keeper:
            request = {"op": "adopt", "id": "x", "folder": "/", "exit": "/", "log": "/"}
            return await keeper.ask({**request, "pid": os.getpid(), "start": 1})

    assert asyncio.run(play())["state"] == "gone"


def test_second_keeper_of_a_folder_gives_way(node: Node) -> None:
    program = "import sys; from labsandbox.node.keeper import main; main(sys.argv[1])"

    async def play() -> None:
        async with node.connected():
            words = [sys.executable, "-c", program, str(node.folder)]
            await asyncio.to_thread(subprocess.run, words, check=True, timeout=10)

    asyncio.run(play())
    assert len(node.pids()) == 1


def test_subnet_is_held_against_other_keepers(node: Node, tmp_path: Path) -> None:
    other = Node(tmp_path / "other")
    other.folder.mkdir()

    async def play() -> tuple[int, int]:
        async with node.connected() as first, other.connected() as second:
            a = await first.ask({"op": "claim", "subnets": [201, 202, 203]})
            b = await second.ask({"op": "claim", "subnets": [a["subnet"], 204, 205]})
            return a["subnet"], b["subnet"]

    try:
        mine, theirs = asyncio.run(play())
    finally:
        processes.kill_node(other.mark)
    assert mine != theirs


@pytest.mark.parametrize("hello", [{"op": "find", "id": "a"}, {"op": "hello", "key": "é" * 64}, []])
def test_keeper_does_nothing_for_who_has_no_key(node: Node, hello: Any) -> None:
    async def play() -> Any:
        async with node.connected() as keeper:
            begun = await keeper.ask(node.request("a", "echo begun; sleep 1000"))
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
                stranger.settimeout(20)
                stranger.connect(str(node.folder / "keeper.sock"))
                for packet in (
                    hello,
                    node.request("b", "echo escaped > ../escaped", confine=False),
                ):
                    with contextlib.suppress(OSError):  # it hangs up after the first
                        stranger.send(json.dumps(packet).encode())
                said = await asyncio.to_thread(_hear, stranger)
            known = await keeper.ask({"op": "find", "id": node.id("a")})
            return said, begun["pid"] == known["pid"], await keeper.ask({"op": "find", "id": "b"})

    said, is_unharmed, other = asyncio.run(play())
    assert said == b""
    assert is_unharmed
    assert other["pid"] is None
    assert not (node.folder / "b" / "escaped").exists()


def _hear(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1000)
    except ConnectionError:
        return b""


@pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock: nothing is confined")
@pytest.mark.parametrize(
    "script",
    [
        "touch {outside}/x",
        "cat {outside}/secret",
        "ls {outside}",
        "mv root/f {outside}/f",
        "ln -s {outside}/secret link; cat link",
        "kill -0 {pid}",
        "cat /proc/{pid}/environ",
        "cat {folder}/keeper.key",
    ],
)
def test_confined_container_cannot(node: Node, tmp_path: Path, script: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s3cret")
    words = script.format(outside=outside, pid=os.getpid(), folder=node.folder)

    async def play() -> dict[str, Any]:
        async with node.connected() as keeper:
            await keeper.ask(node.request("a", f"touch inside && {words} && echo done"))
            return await keeper.exit_of(node.id("a"))

    assert asyncio.run(play())["code"] != 0
    assert (node.folder / "a" / "root" / "inside").exists()
    assert "done" not in node.log("a").splitlines()
    assert "s3cret" not in node.log("a")
    assert [path.name for path in outside.iterdir()] == ["secret"]
