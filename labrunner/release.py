"""What learners get of a checkout: the labs as they were released, never as somebody ran them.

In a git checkout that is what is committed. Elsewhere, in an image or an unpacked archive, the
notebooks are built from their sources. A notebook in the working tree may hold outputs and solved
exercises, so it is not read.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

from labrunner import curriculum, notebook
from labrunner.errors import BadCurriculum

_PLACES = ("notebooks", "Pictures", "LICENSE")


def files(root: Path) -> dict[str, bytes]:
    """Return path and content of all that a learner gets: notebooks, the pages and pictures that
    they link to, the licence."""
    return _committed(root) or _built(root)


def is_for_learners(name: str) -> bool:
    """Tell whether a file of the checkout is handed out.

    >>> is_for_learners("notebooks/core/04_train.ipynb"), is_for_learners("Pictures/house.svg")
    (True, True)
    >>> is_for_learners("notebooks/_src/core/04_train.py"), is_for_learners("Pictures/_src/a.toml")
    (False, False)
    >>> is_for_learners("notebooks/.ipynb_checkpoints/01.ipynb")
    False
    """
    path = PurePosixPath(name)
    if path.parts[0] == "notebooks":
        is_hidden = any(part.startswith((".", "_")) for part in path.parts)
        return path.suffix in (".ipynb", ".md") and not is_hidden
    return name == "LICENSE" or (path.parts[0] == "Pictures" and path.match("Pictures/*.svg"))


def _committed(root: Path) -> dict[str, bytes]:
    """Return what git holds of the last commit; nothing where there is no commit of the labs."""
    listed = _git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD", "--", *_PLACES)
    names = [name for name in listed.decode().split("\0") if name and is_for_learners(name)]
    if not any(name.endswith(".ipynb") for name in names):
        return {}
    found = {}
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", "HEAD", "--", *names))) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                found[member.name] = content.read()
    return found


def _git(root: Path, *words: str) -> bytes:
    """Run git in the checkout, whoever owns it, and return what it printed; nothing on failure."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    trusted = ["-c", "safe.directory=*", "-c", "core.autocrlf=false"]
    try:
        done = subprocess.run(
            ["git", *trusted, *words], cwd=root, env=environment, capture_output=True, check=False
        )
    except OSError:
        return b""
    return done.stdout if done.returncode == 0 else b""


def _built(root: Path) -> dict[str, bytes]:
    """Build every lab of labs.toml from its source; add the pictures as they are."""
    try:
        labs = curriculum.load(root)
    except BadCurriculum:
        return {}
    found = {
        labs.notebook(lab).relative_to(root).as_posix(): notebook.build(labs, lab).encode()
        for lab in labs.labs
        if labs.source(lab).is_file()
    }
    pages = (root / "notebooks").glob("**/*.md")
    for file in sorted([*pages, *(root / "Pictures").glob("*.svg"), root / "LICENSE"]):
        if file.is_file() and is_for_learners(file.relative_to(root).as_posix()):
            found[file.relative_to(root).as_posix()] = file.read_bytes()
    return found
