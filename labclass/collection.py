"""The labs on their way to learners: published as a git repository, pulled by nbgitpuller.

    python -m labclass.collection publish REPOSITORY
    python -m labclass.collection pull REPOSITORY FOLDER

`publish` commits the notebooks and pictures of this checkout, and the practice copies of labs that
have blanks, on top of what was published before: as they were released (`labrunner.release`), not
as the instructor ran them. What an instructor corrects and commits in class reaches the learners at
their next start.

`pull` never takes an edit away: where learner and instructor changed the same notebook, the whole
file stays the learner's (a notebook merged line by line may be no notebook any more). Who wants
the new one renames the old one and starts again. When a pull fails the labs that are there stay,
and a note beside them says why.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from labpanel.copies import Copies
from labrunner import curriculum, release
from labrunner.errors import BadCurriculum, LabError

ROOT = Path(__file__).resolve().parents[1]
BRANCH = "main"
NOTE = "THE-LABS-COULD-NOT-BE-UPDATED.txt"
_ATTRIBUTES = b"*.ipynb merge=binary\n"
_NAME = {
    "GIT_AUTHOR_NAME": "House on the lake",
    "GIT_AUTHOR_EMAIL": "labs@localhost",
    "GIT_COMMITTER_NAME": "House on the lake",
    "GIT_COMMITTER_EMAIL": "labs@localhost",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


class NotPublished(LabError):
    """The collection cannot be made into a repository."""


def of_class(folder: Path) -> str:
    """Return the address of the repository that a class publishes to."""
    return f"file://{folder / 'collection.git'}"


def publish(repository: Path, root: Path = ROOT) -> str:
    """Commit the collection as it is now, unless it is published already; return the commit."""
    released = _released(root)
    if not any(name.endswith(".ipynb") for name in released):
        raise NotPublished(
            f"Expected notebooks in {root / 'notebooks'}, found none that are committed and none "
            "that labs.toml lists with a source. Commit them, or restore notebooks/_src."
        )
    if not (repository / "HEAD").is_file():
        _git(repository, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(repository))
    with tempfile.TemporaryDirectory() as folder:
        tree = _tree(repository, Path(folder), released | {".gitattributes": _ATTRIBUTES})
    known = _git(repository, "for-each-ref", "--format=%(objectname) %(tree)", _REF).split()
    if known[1:] == [tree]:
        return known[0]
    before = ["-p", known[0]] if known else []
    commit = _git(repository, "commit-tree", tree, *before, said="The labs\n")
    _git(repository, "update-ref", _REF, commit)
    return commit


def _released(root: Path) -> dict[str, bytes]:
    """Return what learners get, the practice copies included."""
    try:
        return Copies(curriculum.load(root), root).released()
    except BadCurriculum:  # a folder of notebooks without labs.toml
        return release.files(root)


_REF = f"refs/heads/{BRANCH}"


def _tree(repository: Path, folder: Path, released: Mapping[str, bytes]) -> str:
    """Write the files into the repository and return the id of their tree."""
    place = folder / "files"
    for name, content in released.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    index = {"GIT_INDEX_FILE": str(folder / "index"), "GIT_WORK_TREE": str(place)}
    names = "\n".join(released)
    # git reads the names relative to the folder it runs in when that lies in the work tree.
    _git(repository, "update-index", "--add", "--stdin", said=names, folder=place, **index)
    return _git(repository, "write-tree", folder=place, **index)


def _git(
    repository: Path, *words: str, said: str = "", folder: Path | None = None, **more: str
) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**kept, **_NAME, "GIT_DIR": str(repository), **more}
    try:
        done = subprocess.run(
            ["git", *words],
            input=said,
            env=environment,
            cwd=folder,
            text=True,
            capture_output=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise NotPublished("Expected git on the PATH, found none. Install git.") from error
    except subprocess.CalledProcessError as error:
        raise NotPublished(
            f"`git {words[0]}` in {repository} ended with {error.returncode}: "
            f"{error.stderr.strip()}. Is the disk full? Free some space and start again."
        ) from error
    return done.stdout.strip()


def pull(repository: str, folder: Path) -> bool:
    """Bring the labs to a learner's folder; say whether that was possible."""
    from nbgitpuller.pull import GitPuller

    half_way = folder.exists() and not _is_whole(folder)
    try:
        if half_way:  # a clone that was cut off: nothing of the learner's is in it
            shutil.rmtree(folder / ".git", ignore_errors=True)
            _move_aside(folder)
        for line in GitPuller(repository, str(folder), branch=BRANCH).pull():
            print(line.rstrip(), flush=True)
    except Exception as error:  # whatever it is, the learner's server has to start
        folder.mkdir(exist_ok=True)
        text = (
            f"The labs could not be updated: {type(error).__name__}: {error}\n\n"
            "Your own files are untouched. Show this to your instructor, or stop your server\n"
            "(File, Hub Control Panel) and start it again. A full disk is the usual reason.\n"
        )
        print(text, file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            (folder / NOTE).write_text(text, "utf-8")
        return False
    (folder / NOTE).unlink(missing_ok=True)
    return True


def _is_whole(folder: Path) -> bool:
    asked = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "HEAD"],
        cwd=folder,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def _move_aside(folder: Path) -> None:
    """Give way to a fresh clone; what lies there may be somebody's work."""
    if not any(folder.iterdir()):
        folder.rmdir()
        return
    kept = folder.with_name(f"{folder.name}-before")
    number = 1
    while kept.exists():
        number += 1
        kept = folder.with_name(f"{folder.name}-before-{number}")
    folder.rename(kept)


def main(words: list[str] | None = None) -> int:
    """Publish or pull."""
    parser = argparse.ArgumentParser(prog="python -m labclass.collection")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("publish").add_argument("repository", type=Path)
    pulling = verbs.add_parser("pull")
    pulling.add_argument("repository")
    pulling.add_argument("folder", type=Path)
    given = parser.parse_args(words)
    if given.verb == "publish":
        try:
            print(publish(given.repository.absolute()))
        except NotPublished as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    return 0 if pull(given.repository, given.folder.absolute()) else 1


if __name__ == "__main__":
    sys.exit(main())
