"""Become the learner's shell in a terminal of JupyterLab, with the labs' programs on the PATH.

Jupyter would start a login shell, and the /etc/profile of many systems sets PATH anew: `labs` and
`labsandbox` would not be found. This shell is interactive and no login shell; bash reads
`terminal.bashrc`, which puts the programs first again after the learner's own ~/.bashrc.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import MutableMapping
from pathlib import Path

PROGRAMS = "LABS_PROGRAMS"
_RC = Path(__file__).with_name("terminal.bashrc")


def command(environment: MutableMapping[str, str]) -> list[str]:
    """Return the shell's command line; the environment gets what it needs.

    >>> place = {"SHELL": "/usr/bin/zsh", "PATH": "/bin"}
    >>> command(place), place["PATH"].endswith(":/bin")
    (['/usr/bin/zsh'], True)
    """
    beside = str(Path(sys.executable).parent)
    environment[PROGRAMS] = beside
    environment["PATH"] = f"{beside}{os.pathsep}{environment.get('PATH', os.defpath)}"
    shell = environment.get("SHELL") or shutil.which("bash") or "/bin/sh"
    return [shell, "--rcfile", str(_RC)] if Path(shell).name == "bash" else [shell]


def main() -> None:
    """Become the shell."""
    words = command(os.environ)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
