"""Give labs a platform: the one that is configured, or a sandbox started for them as a program.

A sandbox that we started is taken down whatever happens. When a replay is killed with -9 its
sandbox stays; the next run in the same folder takes it down (or goes on with it, for `--resume`).
The one of `labs lab` hangs on a lifeline and ends by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from labrunner.errors import PlatformFailed

CONFIGURED = "EZMERAL_URL"


def command() -> str | None:
    """Return the sandbox's program, from our own environment first."""
    beside = Path(sys.executable).with_name("labsandbox")
    return str(beside) if beside.exists() else shutil.which("labsandbox")


def is_configured(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment already names a platform."""
    return bool(environment.get(CONFIGURED))


def read_settings(text: str) -> dict[str, str]:
    """Read NAME=value lines, as `labsandbox env` prints them and platform.env holds them.

    >>> read_settings("export EZMERAL_URL='https://a b'\\n# a remark\\nX=1")
    {'EZMERAL_URL': 'https://a b', 'X': '1'}
    """
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = " ".join(shlex.split(value))
    return found


def settings_of(file: Path) -> dict[str, str]:
    """Read the settings of a platform that exists, for `--platform FILE`."""
    try:
        found = read_settings(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PlatformFailed(f"Expected a platform's settings in {file}: {error}.") from error
    if CONFIGURED not in found:
        raise PlatformFailed(
            f"Expected {CONFIGURED}=… in {file}, found {sorted(found) or 'nothing'}. "
            "Type `labsandbox env` to see what such a file holds."
        )
    return found


def merged(environment: dict[str, str], platform: Mapping[str, str]) -> dict[str, str]:
    """Add a platform's settings; its PYTHONPATH goes before the one there is."""
    merged = {**environment, **platform}
    paths = [platform.get("PYTHONPATH"), environment.get("PYTHONPATH")]
    if any(paths):
        merged["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return merged


@dataclass(frozen=True)
class Started:
    """A sandbox that runs: where it lies, what labs need to know, whether it ran before."""

    state: Path
    environment: dict[str, str]
    already: bool


def start(
    log: Path, state: Path | None = None, *, lifeline: int | None = None, words: Iterable[str] = ()
) -> Started:
    """Start a sandbox, in its usual folder or in this one; join it when it runs.

    With a lifeline, the reading end of a pipe, it ends by itself when nobody can write there.
    """
    tied = [] if lifeline is None else ["--until-eof"]
    said = call(["up", *_folder(state), "--detach", "--json", *tied, *words], log, source=lifeline)
    try:
        found = json.loads(said)
        environment = dict(found["environment"])
        return Started(Path(found["state"]), environment, bool(found["already"]))
    except (ValueError, KeyError, TypeError) as error:
        raise PlatformFailed(
            f"Expected the settings of a platform from `labsandbox up --json`, found {said!r}. "
            "Type `make setup`."
        ) from error


@contextlib.contextmanager
def running(
    state: Path, *, keep: bool = False, words: Iterable[str] = ()
) -> Iterator[dict[str, str]]:
    """Start a sandbox in a folder, give its settings, take it down at the end."""
    log = state.parent / "sandbox.log"
    try:
        state.mkdir(parents=True, exist_ok=True)
        yield start(log, state, words=words).environment
    finally:
        if not keep:
            take_down(state, log)


def take_down(state: Path | None, log: Path) -> None:
    """Take a sandbox down, if there is one in this folder, or in the usual one."""
    if (state is None or state.is_dir()) and command() is not None:
        with contextlib.suppress(PlatformFailed):
            call(["down", *_folder(state)], log)


def _folder(state: Path | None) -> list[str]:
    return [] if state is None else ["--state", str(state)]


def call(
    arguments: list[str], log: Path, deadline: float = 180.0, source: int | None = None
) -> str:
    """Run the sandbox's program and return what it printed.

    It has a session of its own: Ctrl-C in our terminal is for us, who then take it down in order.
    """
    program = command()
    if program is None:
        raise PlatformFailed("Expected the program `labsandbox`. Type `make setup`.")
    # Standard output may stay open in the detached platform: a file never blocks, a pipe would.
    printed = log.with_name(f"sandbox-{arguments[0]}.out")
    with log.open("ab") as errors, printed.open("wb") as output:
        try:
            done = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL if source is None else source,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                timeout=deadline,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PlatformFailed(
                f"`labsandbox {arguments[0]}` did not end within {deadline:.0f} s; see {log}."
            ) from error
    if done.returncode != 0:
        last = [*log.read_text("utf-8", "replace").strip().splitlines(), "nothing was said"][-2:][0]
        raise PlatformFailed(
            f"`labsandbox {' '.join(arguments)}` ended with status {done.returncode}: {last} "
            f"All its words are in {log}."
        )
    return printed.read_text("utf-8")
