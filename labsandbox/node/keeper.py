"""The keeper: a small process that starts containers and outlives the agent.

Why it exists: a container's exit code goes to its parent, and its output to whoever holds the
pipe. If the agent were both, killing the agent would lose exit codes and output. The keeper is
the parent, reads the pipes and writes the log files; the agent only asks it to. It imports a
handful of standard modules, holds about 10 MB whatever the number of containers, and sleeps in
epoll when nothing happens.

Output goes through named pipes rather than plain files, because only a reader at the other end
knows when a line was written (`--timestamps`, `--since`) and can rotate without losing one. Each
container also holds its pipes' reading ends: if the keeper itself is killed the container gets no
SIGPIPE, it waits with a full pipe until the next keeper opens it and reads on; what the last one
had taken and not yet logged, that one finds in the intake.

Whoever may reach the socket may connect, a confined pod too: Landlock does not look at sockets that
have a path. So the first packet has to carry what `keeper.key` holds, a file no pod can read.

Protocol (unix SEQPACKET, one JSON object a packet, `seq` repeated in the answer):
  hello {key}          first of all, and without an answer
  start {spec: file}   start a container; the file is removed after reading
  exec  {spec: file} + three file descriptors: run a command beside a container
  adopt {container…}   watch a container an earlier keeper started (its exit code stays unknown)
  find {id}            the process of a container, if this keeper has it
  claim {subnets}      hold one of these subnets against other sandboxes of the machine
  quit
  event exit {id, code, signal}  pushed to all connections when something ended
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
import termios
import time
from typing import Any

from labsandbox import bounds, files
from labsandbox.node import fence, key, processes, view
from labsandbox.node.intake import Intake
from labsandbox.node.journal import Log, Pump

Message = dict[str, Any]

_PR_SET_CHILD_SUBREAPER = 36
_PACKET = 64 * 1024
_SWEEP_SECONDS = 1.0
_MOST_BYTES = 512 << 20


class Keeper:
    """The keeper's state: what runs, who listens, whose pipes are read."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.poll = select.epoll()
        self.key = key.make(folder)
        self.unauthenticated: dict[int, socket.socket] = {}  # have not shown the key yet
        self.clients: dict[int, socket.socket] = {}
        self.pumps: dict[int, Pump] = {}
        self.containers: dict[int, Message] = {}  # by process id
        self.commands: dict[int, str] = {}  # exec: process id -> id
        self.watched: dict[int, Message] = {}  # adopted: pidfd -> container
        self.claim: tuple[int, socket.socket] | None = None
        self.has_view = view.is_possible()
        self.is_running = True
        self._swept = 0.0
        _, self.files_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.child_limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def serve(self) -> None:
        """Answer and pump until told to quit."""
        listener = self._listen()
        wakeup = self._catch_children()
        self.poll.register(listener.fileno(), select.EPOLLIN)
        self.poll.register(wakeup, select.EPOLLIN)
        while self.is_running:
            events = self.poll.poll(_SWEEP_SECONDS if self.containers or self.watched else None)
            self._end_orphans()
            for number, _ in events:
                if number == listener.fileno():
                    client, _ = listener.accept()
                    self.unauthenticated[client.fileno()] = client
                    self.poll.register(client.fileno(), select.EPOLLIN)
                elif number == wakeup:
                    os.read(wakeup, 4096)
                    self._reap()
                elif number in self.unauthenticated:
                    self._greet(number)
                elif number in self.clients:
                    self._receive(number)
                elif number in self.pumps:
                    self._pump(number)
                elif number in self.watched:
                    self._lose(number)

    def _end_orphans(self) -> None:
        """End children that nobody started and that no mark joins to a container."""
        now = time.monotonic()
        if now - self._swept < _SWEEP_SECONDS:
            return
        self._swept = now
        bounds.check()
        for pid in processes.children(os.getpid()):
            is_ours = pid in self.containers or pid in self.commands
            if not is_ours and not processes.is_marked(pid):
                print(f"ended process {pid}: it belongs to no container", file=sys.stderr)
                processes.send(processes.descendants(pid), signal.SIGKILL)

    def _listen(self) -> socket.socket:
        path = os.path.join(self.folder, "keeper.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A socket's address is limited to 107 bytes; a folder's is not.
        os.chdir(self.folder)
        if os.path.lexists(path):
            os.unlink(path)
        listener.bind("keeper.sock")
        os.chmod(path, 0o600)
        listener.listen(16)
        os.chdir("/")
        return listener

    def _catch_children(self) -> int:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        return reading

    def _greet(self, number: int) -> None:
        """Let in who shows the key; nobody else is listened to."""
        client = self.unauthenticated.pop(number)
        try:
            packet = client.recv(_PACKET)
        except OSError:
            packet = b""
        if key.is_shown(packet, self.key):
            self.clients[number] = client
            return
        self.poll.unregister(number)
        client.close()

    def _receive(self, number: int) -> None:
        client = self.clients[number]
        try:
            data, descriptors, _, _ = socket.recv_fds(client, _PACKET, 4)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.poll.unregister(number)
            self.clients.pop(number).close()
            return
        message = json.loads(data)
        try:
            answer = getattr(self, "_do_" + message["op"])(message, descriptors)
        except OSError as error:
            answer = {"error": error.strerror or str(error), "errno": error.errno}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._send(client, {"seq": message.get("seq"), **(answer or {})})

    def _send(self, client: socket.socket, message: Message) -> None:
        try:
            client.send(json.dumps(message).encode())
        except OSError:
            return  # The agent is gone; what it missed is in the exit files.

    def _tell(self, message: Message) -> None:
        for client in list(self.clients.values()):
            self._send(client, message)

    def _do_start(self, message: Message, _: list[int]) -> Message:
        spec = _read_spec(message["spec"])
        log = Log(spec["log"])
        readers, writers = [], []
        for name in ("stdout", "stderr"):
            path = os.path.join(spec["folder"], name)
            if not os.path.exists(path):
                os.mkfifo(path, 0o600)
            readers.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            writers.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            pid = self._fork(spec, [null, *writers], hold=readers)
        except OSError:
            for number in readers:
                os.close(number)
            log.close()
            raise
        finally:
            for number in (null, *writers):
                os.close(number)
        container = {key: spec[key] for key in ("id", "folder", "exit")}
        container |= {"pid": pid, "start": processes.start_time(pid)}
        self.containers[pid] = container
        self._read_from(readers, log, container, is_new=True)
        return {"pid": pid, "start": container["start"]}

    def _do_exec(self, message: Message, descriptors: list[int]) -> Message:
        spec = _read_spec(message["spec"])
        pid = self._fork(spec, descriptors[:3], terminal=bool(spec.get("tty")))
        self.commands[pid] = spec["id"]
        return {"pid": pid}

    def _do_adopt(self, message: Message, _: list[int]) -> Message:
        container = {key: message[key] for key in ("id", "folder", "exit", "pid", "start")}
        if self._do_find(container, [])["pid"] is not None:
            return {"state": "known"}
        if not processes.is_alive(container["pid"], container["start"]):
            return {"state": "gone"}
        number = os.pidfd_open(container["pid"])
        self.watched[number] = container
        self.poll.register(number, select.EPOLLIN)
        log = Log(message["log"])
        paths = [os.path.join(container["folder"], name) for name in ("stdout", "stderr")]
        readers = [os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) for path in paths]
        self._read_from(readers, log, container, is_new=False)
        return {"state": "adopted"}

    def _do_find(self, message: Message, _: list[int]) -> Message:
        for container in [*self.containers.values(), *self.watched.values()]:
            if container["id"] == message["id"]:
                return {"pid": container["pid"], "start": container["start"]}
        return {"pid": None}

    def _do_claim(self, message: Message, _: list[int]) -> Message:
        if self.claim is None:
            for subnet in message["subnets"]:
                flag = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                try:
                    flag.bind(f"\0labsandbox-subnet-{subnet}")
                except OSError:
                    flag.close()
                    continue
                self.claim = (subnet, flag)
                break
        return {"subnet": self.claim[0] if self.claim else None, "view": self.has_view}

    def _do_quit(self, message: Message, _: list[int]) -> Message:
        self.is_running = False
        return {}

    def _fork(
        self,
        spec: Message,
        streams: list[int],
        hold: list[int] | None = None,
        terminal: bool = False,
    ) -> int:
        """Start a process; raise OSError with the cause when it cannot be executed."""
        failure, failed = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _become(spec, streams, hold or [], terminal, self.has_view, failed, self.child_limits)
        os.close(failed)
        with os.fdopen(failure, "rb") as file:
            said = file.read()
        if said:
            os.waitpid(pid, 0)
            number, _, where = said.decode().partition(" ")
            raise OSError(int(number), f"{where}{os.strerror(int(number))}")
        return pid

    def _read_from(self, readers: list[int], log: Log, container: Message, *, is_new: bool) -> None:
        for number, stream in zip(readers, ("stdout", "stderr"), strict=True):
            intake = Intake(os.path.join(container["folder"], f"{stream}.taken"), is_new=is_new)
            self.pumps[number] = Pump(number, stream, log, container["id"], intake)
            self.poll.register(number, select.EPOLLIN)

    def _pump(self, number: int) -> None:
        if not self.pumps[number].read():
            self._end_pump(number)

    def _end_pump(self, number: int) -> None:
        pump = self.pumps.pop(number)
        self.poll.unregister(number)
        pump.finish()
        os.close(number)
        if not any(other.log is pump.log for other in self.pumps.values()):
            pump.log.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid in self.commands:
                self._tell({"event": "exit", "id": self.commands.pop(pid), **_outcome(code)})
            elif pid in self.containers:
                self._finish(self.containers.pop(pid), _outcome(code))

    def _lose(self, number: int) -> None:
        """Record the end of an adopted container, whose exit code only its parent was told."""
        self.poll.unregister(number)
        os.close(number)
        self._finish(self.watched.pop(number), {"code": None, "signal": None})

    def _finish(self, container: Message, outcome: Message) -> None:
        first = (container["pid"], container["start"] or 0)
        processes.kill_members(container["id"], first, container["folder"])
        for number in [n for n, pump in self.pumps.items() if pump.owner == container["id"]]:
            while self.pumps[number].read(once=True):
                pass
            self._end_pump(number)
        outcome = {**outcome, "finished": time.time()}
        with contextlib.suppress(OSError):  # The pod's folder is gone: nobody asks any more.
            files.replace(container["exit"], json.dumps(outcome))
        self._tell({"event": "exit", "id": container["id"], **outcome})


def _outcome(code: int) -> Message:
    return {"code": code if code >= 0 else 128 - code, "signal": -code if code < 0 else None}


def _read_spec(path: str) -> Message:
    with open(path, "rb") as file:
        spec: Message = json.load(file)
    os.unlink(path)
    return spec


def _become(
    spec: Message,
    streams: list[int],
    hold: list[int],
    terminal: bool,
    has_view: bool,
    failed: int,
    limits: tuple[int, int],
) -> None:
    """Turn the forked child into the program; never returns."""
    where = ""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                try:
                    signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    continue
        # Keep the pipes' reading ends open without anybody seeing them (see the module's top).
        kept = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in hold]
        for target, number in enumerate([fcntl.fcntl(n, fcntl.F_DUPFD, 50) for n in streams]):
            os.dup2(number, target)
            os.close(number)
        for number in kept:
            os.set_inheritable(number, True)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        bounds.release()
        processes.stamp(spec["env"])
        for name, value in spec.get("limits", {}).items():
            resource.setrlimit(getattr(resource, name), (value, value))
        where = f"{'/'.join(spec['cwd'])}: "
        fence.enter(spec, has_view)
        where = f"{spec['argv'][0]}: "
        os.execve(spec["program"], spec["argv"], spec["env"])
    except OSError as error:
        os.write(failed, f"{error.errno or errno.EIO} {where}".encode())
    finally:
        os._exit(127)


def main(folder: str) -> None:
    """Run as the only keeper of a node's folder."""
    lock = os.open(
        os.path.join(folder, "keeper.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # Another keeper is there already, and it is as good as this one.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    keeper = Keeper(folder)
    resource.setrlimit(resource.RLIMIT_NOFILE, (keeper.files_limit, keeper.files_limit))
    bounds.protect(_MOST_BYTES)
    # At its bound it ends: the agent starts another one, which takes over containers and pipes.
    with bounds.ending():
        keeper.serve()


if __name__ == "__main__":
    main(sys.argv[1])
