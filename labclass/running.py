"""Hold a class: its platform, its hub, until Ctrl-C; and take down what an earlier call left.

The hub runs in a session of its own, so that Ctrl-C reaches this process alone, which then ends
hub and platform in order. When this process is killed with -9 both go on, learners notice nothing,
and the next call in the same folder takes them over.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests
from rich.console import Console

from labclass import early, leftovers, place, prepare, roster, share
from labclass.prepare import ClassOptions, Prepared
from labclass.roster import Folder
from labhelpers.deadline import WaitTimeout, wait
from labrunner import sandbox
from labrunner.errors import LabError

# The laptop platform gives a pod an address of 250; a learner has six pods at most.
MOST_ON_A_LAPTOP = 40
_UP = ("--students", "0", "--seats", str(MOST_ON_A_LAPTOP))
_HUB_SECONDS, _END_SECONDS, _LOOK = 90.0, 60.0, 5.0
_CONFIG = Path("deploy") / "jupyterhub" / "jupyterhub_config.py"


class HubFailed(LabError):
    """The hub did not start, or ended by itself."""


@contextlib.contextmanager
def platform(folder: Folder, file: Path | None, *, keep: bool) -> Iterator[dict[str, str]]:
    """Give the settings of the platform: the named one, the configured one, or one of its own."""
    if file is not None:
        yield place.of_file(file)
    elif sandbox.is_configured():
        yield place.of_environment()
    else:
        with sandbox.running(folder.platform, keep=keep, words=_UP) as found:
            yield found


def hold(
    folder: Folder,
    options: ClassOptions,
    file: Path | None,
    root: Path,
    console: Console,
    *,
    keep: bool,
) -> None:
    """Prepare a class, open its hub and stay until Ctrl-C."""
    _require_free(folder, dict(options.hub or {}))
    with _prepared(folder, options, file, root, console, keep=keep) as (settings, prepared):
        is_left = False
        try:
            process = start_hub(folder, root)
            await_hub(process, folder, dict(options.hub or {}))
            _tell(console, folder, prepared, settings, str((options.hub or {})["url"]))
            names = [] if options.on_demand else prepared.students
            with contextlib.suppress(KeyboardInterrupt), _in_advance(folder, names, console):
                _watch(process, folder, settings, console)
            is_left = keep
        finally:
            if not is_left:
                console.print("Closing the class…")
                end_hub(folder)
    if keep:
        console.print(f"Hub and platform go on. End them: labs class --folder {folder.root} --down")
    else:
        console.print(f"Closed. What everybody did is kept in {folder.root}; open it again with")
        console.print(f"  labs class --folder {folder.root}")


def prepare_only(
    folder: Folder,
    options: ClassOptions,
    file: Path | None,
    root: Path,
    console: Console,
    *,
    keep: bool,
) -> None:
    """Prepare a class and stop."""
    with _prepared(folder, options, file, root, console, keep=keep) as (settings, prepared):
        _tell(console, folder, prepared, settings, None)


def take_down(folder: Folder) -> bool:
    """End hub, learners' servers and platform of a class; tell whether there was anything."""
    ended = end_hub(folder)
    if folder.platform.is_dir():
        facts = sandbox.call(["down", "--state", str(folder.platform)], folder.root / "sandbox.log")
        ended = ended or facts.startswith("Stopped")
    return ended


@contextlib.contextmanager
def _prepared(
    folder: Folder,
    options: ClassOptions,
    file: Path | None,
    root: Path,
    console: Console,
    *,
    keep: bool,
) -> Iterator[tuple[dict[str, str], Prepared]]:
    prepare.enrol(folder, options)  # what is wrong with the options is said before anything starts
    is_own = file is None and not sandbox.is_configured()
    if is_own and (options.students or 0) > MOST_ON_A_LAPTOP:
        raise roster.BadClass(
            f"Expected at most {MOST_ON_A_LAPTOP} students on the laptop platform, found "
            f"{options.students}. Hold two classes on two machines, or name a real platform with "
            "--platform FILE."
        )
    if is_own:
        console.print("Starting the platform…")
    with (
        platform(folder, file, keep=keep) as settings,
        console.status("preparing") as status,
    ):

        def tell(words: str) -> None:
            status.update(words)

        prepared = prepare.prepare(folder, options, settings, root, tell)
        status.stop()
        yield settings, prepared


def _require_free(folder: Folder, hub: Mapping[str, Any]) -> None:
    """Refuse a port that somebody else has, before anything is started."""
    if leftovers.marked("hub", folder.root.resolve()):
        return  # it is the hub that is about to be replaced
    host, port = str(hub["bind"]), int(hub["port"])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("" if host == "*" else host, port))
    except OSError as error:
        raise HubFailed(
            f"Expected port {port} of {host} to be free for the hub, found: {error.strerror}. "
            f"Choose another: `labs class --port {port + 1 if port < 65535 else 8000}`."
        ) from error


def start_hub(folder: Folder, root: Path) -> subprocess.Popen[bytes]:
    """Start the hub; one that runs already is replaced, learners' servers go on."""
    for left in leftovers.marked("hub", folder.root.resolve()):
        with contextlib.suppress(psutil.Error):
            left.kill()
    environment = {**os.environ, "LABS_CLASS": str(folder.root), "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    paths = [str(root), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment.update(leftovers.mark("hub", folder.root.resolve()))
    with open(folder.hub / "hub.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "labclass.jupyterhub_app", "-f", str(root / _CONFIG)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder.hub,
            start_new_session=True,
        )


def await_hub(process: subprocess.Popen[bytes], folder: Folder, hub: Mapping[str, Any]) -> None:
    """Return when the hub answers learners; say what it said when it ended instead."""

    def look() -> str:
        if process.poll() is not None:
            raise HubFailed(_last_words(folder, f"it ended with status {process.returncode}"))
        return "it answers" if _answers(folder, hub) else "it does not answer yet"

    try:
        wait(
            "the hub",
            look,
            until=lambda seen: seen == "it answers",
            deadline=_HUB_SECONDS,
            every=0.2,
        )
    except WaitTimeout as error:
        raise HubFailed(_last_words(folder, str(error))) from error


def _answers(folder: Folder, hub: Mapping[str, Any]) -> bool:
    url = urlsplit(str(hub["url"]))
    host = "127.0.0.1" if hub["bind"] in ("0.0.0.0", "::", "*") else hub["bind"]
    if hub.get("certificate"):  # a site's own names its own host, which may be another
        with socket.create_connection((host, hub["port"]), timeout=5):
            return True
    authority = folder.hub / "tls" / "ca.crt"
    with requests.Session() as http:
        http.trust_env = False
        http.verify = str(authority) if url.scheme == "https" else True
        answer = http.get(f"{url.scheme}://{host}:{hub['port']}/hub/health", timeout=5)
        return answer.status_code == 200


def _last_words(folder: Folder, found: str) -> str:
    log = folder.hub / "hub.log"
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    said = lines[-1] if lines else "nothing was said"
    return f"Expected the hub to run, found: {found}. {said} All its words are in {log}."


@contextlib.contextmanager
def _in_advance(folder: Folder, names: list[str], console: Console) -> Iterator[None]:
    """Start the learners' servers meanwhile."""
    port = json.loads((folder.hub / "ports.json").read_text("utf-8"))["hub"]
    api, token = f"http://127.0.0.1:{port}/hub/api", (folder.hub / early.TOKEN).read_text("utf-8")
    is_over = Event()

    def work() -> None:
        count, why = early.start_servers(api, token, names, is_over, early.free_memory)
        if names and not is_over.is_set():
            rest = f"; the others start when their learners come: {why}" if why else ""
            console.print(f"Servers that are ready: {count} of {len(names)}{rest}.")

    worker = Thread(target=work, daemon=True)
    worker.start()
    try:
        yield
    finally:
        is_over.set()
        worker.join(_HUB_SECONDS)


def end_hub(folder: Folder) -> bool:
    """End the hub and every learner's server; tell whether there was anything to end."""
    where = folder.root.resolve()
    left = leftovers.marked("hub", where)
    for one in left:
        with contextlib.suppress(psutil.Error):
            if "jupyterhub" in " ".join(one.cmdline()[:4]):
                one.send_signal(signal.SIGTERM)
    psutil.wait_procs(left, timeout=_END_SECONDS)
    return leftovers.sweep(where, servers=True) + len(left) > 0


def _watch(
    process: subprocess.Popen[bytes],
    folder: Folder,
    settings: Mapping[str, str],
    console: Console,
) -> None:
    """Stay as long as the hub does; a platform of our own that was killed is started again."""
    is_own = Path(settings.get(place.STATE, "/")) == folder.platform
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
            raise HubFailed(_last_words(folder, f"it ended with status {process.returncode}"))
        if is_own and not _platform_answers(settings):
            console.print(f"{time.strftime('%H:%M')} The platform is gone; starting it again.")
            words = ["up", "--state", str(folder.platform), "--detach", *_UP]
            sandbox.call(words, folder.root / "sandbox.log")


def _platform_answers(settings: Mapping[str, str]) -> bool:
    """Tell whether somebody listens; a platform that is busy is none that is gone."""
    url = urlsplit(settings["EZMERAL_URL"])
    try:
        with socket.create_connection((url.hostname or "", url.port or 443), timeout=30):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True


def _tell(
    console: Console,
    folder: Folder,
    prepared: Prepared,
    settings: Mapping[str, str],
    url: str | None,
) -> None:
    names = prepared.students
    some = ", ".join(names) if len(names) < 4 else f"{names[0]} … {names[-1]}"
    bounds = [share.explain(share.most_memory(len(names)))] if url else []
    for note in [*prepared.notes, *bounds]:
        console.print(f"Note: {note}")
    what = "is open" if url else "is prepared"
    many = "1 learner" if len(names) == 1 else f"{len(names)} learners"
    console.print(f"The class {what}: {many} ({some}).")
    leader = next(p.name for p in prepared.people if p.role == roster.INSTRUCTOR)
    if url:
        console.print(f"  Learners go to   {url}")
        console.print(f"  Who needs you    {url}/services/attendance/  (sign in as {leader})")
        authority = folder.hub / "tls" / "ca.crt"
        if url.startswith("https") and authority.is_file():
            console.print(f"  Certificate      {authority}  (learners import it once)")
    console.print(f"  Passwords        {folder.sheet}  (only you can read it)")
    console.print(f"  Cards to print   {folder.cards}")
    console.print(f"  Platform         {settings['EZMERAL_URL']}")
    if url:
        console.print("Ctrl-C ends the class; everybody's work is kept.")
    else:
        console.print(f"Open it with: labs class --folder {folder.root}")
