"""Open JupyterLab for a learner, with a platform behind it, and leave nothing running.

JupyterLab and the sandbox start at the same time, each on a lifeline: a pipe that we hold. Whatever
ends us closes it, `kill -9` included, and both end by themselves. In the ordinary case they are
ended in order, JupyterLab first: its kernels use the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from labpanel import NAME
from labpanel.copies import Copies
from labpanel.desk import AlreadyOpen, Desk, Record, claim, end_jupyter, private
from labrunner import sandbox
from labrunner.curriculum import Lab
from labrunner.errors import LabError
from labspark.place import home

HUB = "JUPYTERHUB_API_TOKEN"
START = "notebooks/00_start_here.ipynb"
# After set-up nothing asks the network; and no language server is looked for that nobody has.
QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--LanguageServerManager.autodetect=False",
)
TERMINAL = [sys.executable, "-m", "labpanel.terminal"]
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHECKOUT = Path(__file__).resolve().parents[1]
_GRACE = 20.0
_STAMP = re.compile(r"^\[[A-Z] [^\]]*\]\s*")
_CURES = {
    "Running as root": "You are root, as in a container: type `make lab ARGS=--allow-root`.",
    "is not available": "Any free port will do? Type `make lab ARGS='--port 0'`.",
    "ermission denied": "Set JUPYTER_DATA_DIR and JUPYTER_CONFIG_DIR to folders that are yours.",
}


class JupyterFailed(LabError):
    """JupyterLab did not start, or ended by itself."""


def open_lab(
    root: Path,
    copies: Copies | None,
    *,
    keep: bool = False,
    arguments: tuple[str, ...] = (),
    first: str = START,
) -> int:
    """Open JupyterLab with a platform behind it; leave nothing running, unless asked to.

    It shows the learner's copies of the labs; without copies, the checkout at `root` itself.
    """
    for number in ENDINGS:
        signal.signal(number, _end)
    try:
        with claim(home() / "lab") as (place, before):
            shown = root
            if copies is not None:
                shown = copies.folder
                for lab in copies.refresh():
                    say(_news(lab))
                say(f"Your copies of the labs are in {shown}.")
            return _open(place, before, shown, keep=keep, arguments=arguments, first=first)
    except AlreadyOpen as error:
        address = _address_of(error.address, first) if error.address else ""
        say(str(error).replace(error.address, address) if address else str(error))
        if address and opens_browser(arguments):
            webbrowser.open(address)
        return 0


def open_one(copies: Copies, lab: Lab, *, practice: bool = False) -> int:
    """Open the learner's copy of one lab; on a hub, say where it is in the JupyterLab there."""
    path = copies.path(lab, practice=practice)
    if HUB in os.environ:
        say(f"Open {path} in JupyterLab's file browser, at the left.")
        return 0
    return open_lab(copies.curriculum.root, copies, first=path)


def _news(lab: Lab) -> str:
    return (
        f"A new release of {lab.id} ({lab.title}) is here. Your copy stays as it is; `labs open "
        f"{lab.id} --start-over` brings the new one and keeps yours beside it."
    )


def _address_of(address: str, path: str) -> str:
    """Return the address of a notebook in a JupyterLab that is open at `address`.

    >>> _address_of("http://127.0.0.1:8888/lab/tree/a.ipynb?token=x", "notebooks/b.ipynb")
    'http://127.0.0.1:8888/lab/tree/notebooks/b.ipynb?token=x'
    """
    parts = urlsplit(address)
    base = parts.path.partition("/lab")[0]
    return parts._replace(path=f"{base}/lab/tree/{quote(path)}").geturl()


def _end(number: int, _: object) -> None:
    """Leave in order, undisturbed by a second one; Ctrl-C is the ordinary way to close."""
    for other in ENDINGS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(0 if number == signal.SIGINT else 128 + number)


def _open(
    place: Desk,
    before: Record,
    root: Path,
    *,
    keep: bool,
    arguments: tuple[str, ...],
    first: str,
) -> int:
    """Start both at the same time; end JupyterLab first, its kernels use the sandbox."""
    if before.pid:  # it was killed: what hung on it ends by itself, and must have ended
        end_jupyter(before)
        if before.has_sandbox:
            sandbox.take_down(None, place.sandbox_log)
    needs_sandbox = not sandbox.is_configured() and sandbox.command() is not None
    say("Starting JupyterLab" + (" and the sandbox…" if needs_sandbox else "…"))
    with contextlib.ExitStack() as stack:
        lifeline = None
        if needs_sandbox and not keep:
            lifeline = stack.enter_context(_lifeline())
            stack.callback(_take_down, place)
        process = stack.enter_context(running(place, root, arguments, first))
        settings = _platform(place, lifeline) if needs_sandbox else {}
        return attend(process, place, settings)


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """Give the reading end of a pipe that nobody but us can write to."""
    theirs, ours = os.pipe()
    try:
        yield theirs
    finally:
        os.close(theirs)
        os.close(ours)


def _platform(place: Desk, lifeline: int | None) -> dict[str, str]:
    """Start or join the learner's sandbox; one that we started ends with us, unless kept."""
    place.note(has_sandbox=lifeline is not None)
    started = sandbox.start(place.sandbox_log, lifeline=lifeline)
    if started.already:
        place.note(has_sandbox=False)
        say("The sandbox was running before; it goes on when this is closed.")
    elif lifeline is None:
        say("The sandbox goes on when this is closed; `labsandbox down` ends it.")
    return started.environment


def _take_down(place: Desk) -> None:
    if place.record.has_sandbox:
        say("Closing the sandbox…")
        sandbox.take_down(None, place.sandbox_log)


@contextlib.contextmanager
def running(
    place: Desk, root: Path, arguments: tuple[str, ...], first: str
) -> Iterator[subprocess.Popen[str]]:
    """Start JupyterLab on the labs, say its address when it answers, end it at the end."""
    shown = f"/lab/tree/{quote(first)}" if (root / first).is_file() else "/lab"
    command = [
        # Not the folder of notebooks: their pictures lie beside it.
        *(sys.executable, "-m", NAME, f"--ServerApp.root_dir={root}"),
        *(f"--ServerApp.jpserver_extensions={{'{NAME}': True}}", f"--LabApp.default_url={shown}"),
        *([] if opens_browser(arguments) else ["--no-browser"]),
        *QUIET,
        f"--ServerApp.terminado_settings={{'shell_command': {TERMINAL!r}}}",
        *arguments,
    ]
    environment = dict(os.environ)
    path = environment.get("PATH", os.defpath)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    with open(place.log, "wb", opener=private) as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            cwd=CHECKOUT,
            start_new_session=True,  # Ctrl-C is for us; it then ends in order
        )
    place.note(jupyter=process.pid)
    answers = threading.Thread(target=_announce, args=(process, place), daemon=True)
    answers.start()
    try:
        yield process
    finally:
        _close(process)
        answers.join(1)


def _announce(process: subprocess.Popen[str], place: Desk) -> None:
    """Read the one line that JupyterLab sends when it answers, and say where it is."""
    assert process.stdout is not None
    with process.stdout as answers:
        line = answers.readline()
    if not line:
        return
    address = json.loads(line)["address"]
    place.note(address=address)
    say(f"JupyterLab is open at\n  {address}")
    if "SSH_CONNECTION" in os.environ:
        port = urlsplit(address).port
        say(f"From your own machine: ssh -L {port}:127.0.0.1:{port} …, then open that address.")
    say(f"Ctrl-C closes it. Its own words are in {place.log}.")


def attend(process: subprocess.Popen[str], place: Desk, settings: Mapping[str, str]) -> int:
    """Send the platform's settings, then wait until JupyterLab is shut down."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(dict(settings)) + "\n")
        process.stdin.flush()
    status = process.wait()
    if status != 0 or not place.record.address:
        raise JupyterFailed(_why(place.log, status, bool(place.record.address)))
    return 0


def _why(log: Path, status: int, was_open: bool) -> str:
    """Say how JupyterLab ended, from the last of its words that matter."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    grave = [line for line in lines if line.startswith(("[C ", "[E ")) or "Error" in line]
    said = _STAMP.sub("", (grave or lines or ["nothing was said"])[-1]).strip()
    cure = next((cure for words, cure in _CURES.items() if words in said), "")
    what = "go on until you close it" if was_open else "start"
    return (
        f"Expected JupyterLab to {what}; it ended with status {status}: {said} "
        f"{cure or '`make doctor` checks this machine.'} All its words are in {log}."
    )


def _close(process: subprocess.Popen[str]) -> None:
    """End JupyterLab and its kernels; one that does not listen is killed."""
    if process.poll() is None:
        say("Closing JupyterLab…")
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()  # the lifeline: it ends in order
    if process.poll() is None:
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def opens_browser(arguments: tuple[str, ...]) -> bool:
    """Tell whether a browser can be opened on this machine's screen, and is wanted."""
    if "--no-browser" in arguments:
        return False
    screens = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(os.environ.get(name) for name in screens)


def say(words: str) -> None:
    """Print for the learner; a terminal that was closed keeps nobody from tidying up."""
    try:
        print(words, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process
