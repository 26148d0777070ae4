"""The agent's side of the keeper: start it, ask it, hear from it, replace it when it died."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labsandbox.node import key, processes

log = logging.getLogger(__name__)

Message = dict[str, Any]

_START_SECONDS, _AGAIN_SECONDS = 10, 2
_PACKET = 64 * 1024
_ROOT = Path(__file__).resolve().parents[2]
# Forked once more, so that the keeper is nobody's child and no end of ours takes it along.
_PROGRAM = (
    "import os, sys; os.fork() and os._exit(0); sys.path.insert(0, sys.argv[1]); "
    "from labsandbox.node.keeper import main; main(sys.argv[2])"
)


class KeeperError(Exception):
    """The keeper could not do what it was asked; `number` is the errno where there is one."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.number = number


class Supervisor:
    """A connection to the keeper that is made anew whenever it breaks."""

    def __init__(self, folder: Path, node: str) -> None:
        self.folder, self.node = folder, node
        self.exits: dict[str, asyncio.Future[Message]] = {}
        self.on_new_keeper: Callable[[], Any] | None = None
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._sequence = 0
        self._socket: socket.socket | None = None
        self._connecting = asyncio.Lock()
        self._ended: dict[str, Message] = {}
        self._closed = False

    async def connect(self) -> None:
        """Reach the keeper, starting one when there is none."""
        async with self._connecting:
            if self._socket is not None or self._closed:
                return
            deadline = asyncio.get_running_loop().time() + _START_SECONDS
            started = 0.0
            while (connection := self._try_connect()) is None:
                now = asyncio.get_running_loop().time()
                if now - started > _AGAIN_SECONDS:
                    self._start()
                    started = now
                if now > deadline:
                    raise KeeperError(
                        f"Expected the keeper to answer on {self.folder}/keeper.sock within "
                        f"{_START_SECONDS} s; it did not. See {self.folder}/keeper.log."
                    )
                await asyncio.sleep(0.005)
            self._socket = connection
            asyncio.get_running_loop().add_reader(connection.fileno(), self._receive)

    def _try_connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Through /proc/self/fd because a socket's address is limited to 107 bytes.
        folder = os.open(self.folder, os.O_PATH | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{folder}/keeper.sock")
            connection.send(key.hello(str(self.folder)))
        except OSError:
            connection.close()
            return None
        finally:
            os.close(folder)
        connection.setblocking(False)
        return connection

    def _start(self) -> None:
        environment = {"PATH": os.defpath, processes.NODE_MARK: self.node}
        with open(self.folder / "keeper.log", "ab") as errors:
            subprocess.run(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                cwd="/",
                start_new_session=True,
                check=False,
            )

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        message = json.loads(data)
        if message.get("event") == "exit":
            self._note_exit(message)
            return
        future = self._waiting.pop(message["seq"], None)
        if future and not future.done():
            future.set_result(message)

    def _note_exit(self, message: Message) -> None:
        future = self.exits.pop(message["id"], None)
        if future is None:
            # The end may be told before the one who waits has said so.
            self._ended[message["id"]] = message
            if len(self._ended) > 1000:
                self._ended.pop(next(iter(self._ended)))
        elif not future.done():
            future.set_result(message)

    def _lose(self) -> None:
        """The keeper is gone: fail what waits for it and, unless this is the end, replace it."""
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(KeeperError("The keeper ended before it answered."))
        self._waiting.clear()
        if not self._closed:
            log.warning("the keeper ended; starting another one")
            self._replacement = asyncio.create_task(self._replace())

    async def _replace(self) -> None:
        try:
            await self.connect()
            # One that is being killed still accepts connections, but answers nothing.
            await self.ask({"op": "find", "id": ""})
            if self.on_new_keeper and not self._closed:
                await self.on_new_keeper()
        except KeeperError as error:
            # That was the last breath of the old one; its end started another replacement.
            log.warning("the new keeper: %s", error)

    async def ask(self, message: Message, descriptors: tuple[int, ...] = ()) -> Message:
        """Send a request and return the answer; raise KeeperError when it names an error."""
        if self._socket is None:
            await self.connect()
        assert self._socket is not None
        self._sequence += 1
        number = self._sequence
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        packet = json.dumps({**message, "seq": number}).encode()
        while True:
            try:
                socket.send_fds(self._socket, [packet], list(descriptors))
                break
            except BlockingIOError:
                await asyncio.sleep(0.001)
            except OSError as error:
                self._waiting.pop(number, None)
                raise KeeperError("The keeper ended before it was asked.") from error
        answer = await future
        if "error" in answer:
            raise KeeperError(answer["error"], answer.get("errno"))
        return answer

    def exit_of(self, identifier: str) -> asyncio.Future[Message]:
        """Return the future end of a container or command."""
        future = self.exits.get(identifier)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            if identifier in self._ended:
                future.set_result(self._ended.pop(identifier))
            else:
                self.exits[identifier] = future
        return future

    def forget(self, identifier: str) -> None:
        """Stop waiting for an end."""
        self.exits.pop(identifier, None)
        self._ended.pop(identifier, None)

    async def close(self) -> None:
        """Leave the keeper and its containers running."""
        self._closed = True
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
