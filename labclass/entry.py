"""What runs first in a learner's server, inside the confinement: bring the labs, then serve.

    python -m labclass.entry COMMAND …

LABS_COLLECTION names the git repository of the labs, LABS_FOLDER the learner's copy of it. The
pull runs here and not in the hub because the copy is the learner's: git runs what a repository's
settings say, and they say it inside the confinement. The same program starts the servers of the
Zero-to-JupyterHub chart.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from labclass import collection


def main(command: list[str]) -> None:
    """Pull the labs, make the folders a server needs, become the command."""
    if not command:
        sys.exit("Expected a command to become, found none.")
    for name in ("TMPDIR", "LABS_HOME"):
        if os.environ.get(name):
            Path(os.environ[name]).mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(os.environ.get("LABS_FOLDER") or Path.home() / "labs")
    repository = os.environ.get("LABS_COLLECTION")
    if repository:
        collection.pull(repository, folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
