"""Become a shell on a terminal that nobody else opens.

All learners' terminals are devices of one Unix user, and Landlock knows only the folder they lie
in. An exclusive terminal refuses every further open, so a neighbour cannot read what is typed.
"""

from __future__ import annotations

import os
import sys
import termios
from fcntl import ioctl

from labpanel import terminal


def main(command: list[str]) -> None:
    """Close the terminal to others and become the command."""
    if os.isatty(0):
        ioctl(0, termios.TIOCEXCL)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:] or terminal.command(os.environ))
