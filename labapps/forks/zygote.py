"""A process that has the big libraries imported and forks ready-made workers on request.

Importing scikit-learn costs seconds; a fork of a process that has it costs milliseconds. The
zygote has one thread and never computes, so its forks are safe. It is driven through a
`SOCK_SEQPACKET` socket with one JSON message a packet:

    {"op": "fork", "id": 1, "call": "module:function", "args": {…}}   + file descriptors
    {"op": "preload", "modules": […]}      {"op": "kill", "pid": 7}
and tells {"ready": […missing modules…]}, {"forked": 1, "pid": 7}, {"exited": 7, "status": 0, …}.

A fork may itself call `labapps.forks.zygote:nest` and so become a zygote with more imported.
`labapps/forks/client.py` is the other end. Run: `python -m labapps.forks.zygote <fd> [modules…]`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
import warnings
from typing import Any

from labapps.forks import source

__all__ = ["MESSAGE", "main", "nest"]

MESSAGE = 256 * 1024
FDS = 8


class Zygote:
    """The loop; after a fork the child leaves it for good."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: set[int] = set()
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def tell(self, **message: Any) -> None:
        try:
            self.control.send(json.dumps(message).encode())
        except OSError:
            self.leave()

    def leave(self) -> None:
        """The other end is gone: nobody needs the children any more."""
        for pid in self.children:
            _kill(pid)
        os._exit(0)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # SIGTERM goes to the whole group on a pod's stop; the owner decides when we end.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self.wake_write)
        selector = selectors.DefaultSelector()
        selector.register(self.control, selectors.EVENT_READ)
        selector.register(self.wake_read, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.control:
                    self.receive(selector)
                else:
                    os.read(self.wake_read, 4096)
                    self.reap()

    def receive(self, selector: selectors.BaseSelector) -> None:
        data, fds, _, _ = socket.recv_fds(self.control, MESSAGE, FDS)
        if not data:
            self.leave()
        message = json.loads(data)
        if message["op"] == "preload":
            self.tell(ready=preload(message["modules"]))
        elif message["op"] == "kill":
            if message["pid"] in self.children:
                _kill(message["pid"])
        elif message["op"] == "fork":
            self.fork(message, fds, selector)
        for fd in fds:
            os.close(fd)

    def fork(self, message: dict[str, Any], fds: list[int], selector: Any) -> None:
        with warnings.catch_warnings():
            # numpy's thread pool exists but is idle, and re-created in the child by its owner.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            selector.close()
            self.become(message, fds)
        self.children.add(pid)
        self.tell(forked=message["id"], pid=pid)

    def become(self, message: dict[str, Any], fds: list[int]) -> None:
        """In the child: forget the zygote, do the work, end without its exit handlers."""
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.control.close()
            os.close(self.wake_read)
            os.close(self.wake_write)
            numpy = sys.modules.get("numpy")
            if numpy is not None:
                numpy.random.seed()
            module, _, function = message["call"].partition(":")
            code = getattr(importlib.import_module(module), function)(message["args"], fds) or 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError):
                    continue
            os._exit(code & 0xFF)

    def reap(self) -> None:
        while self.children:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.children.discard(pid)
            seconds = round(usage.ru_utime + usage.ru_stime, 3)
            self.tell(exited=pid, status=status, maxrss=usage.ru_maxrss, cpu=seconds)


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def preload(modules: list[str]) -> list[str]:
    """Import what is installed; return what could not be imported."""
    missing = []
    # scikit-learn's test helpers import pytest where it is installed: 0.2 s, 12 MB for nothing.
    unwanted = [name for name in ("pytest",) if name not in sys.modules and name not in modules]
    sys.modules.update(dict.fromkeys(unwanted))  # type: ignore[arg-type]
    for name in modules:
        if not source.importable(name):
            missing.append(name)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(name)
        except BaseException:  # a library that exits when imported is one more missing module
            missing.append(name)
    for name in unwanted:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, the shared pages
    return missing


def nest(args: dict[str, Any], fds: list[int]) -> int:
    """Become a zygote of one's own, with more modules imported."""
    control = socket.socket(fileno=fds[0])
    zygote = Zygote(control)
    zygote.tell(ready=preload(args.get("modules", [])))
    zygote.run()
    return 0


def main(arguments: list[str]) -> int:
    """Run the zygote whose socket is inherited as the given descriptor."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return nest({"modules": arguments[1:]}, [int(arguments[0])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
