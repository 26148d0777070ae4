"""The zip that a learner takes home: notebooks with outputs, pages, evidence, and their own files.

A notebook whose output holds a secret of this run stays out, and the list in the zip says why.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labpanel import evidence
from labpanel.evidence import Evidence
from labrunner import glossary, page, secrets
from labrunner.curriculum import Curriculum, Lab
from labspark.place import project_repo, user

__all__ = ["TakeAway", "write"]

ROOM = "house-on-the-lake"
LARGEST = 2 * 2**20  # of one file on the project repository
MOST = 30 * 2**20  # of all of them
# A lab's page is one folder higher than its notebook, and not beside the glossary.
TO_GLOSSARY, TO_GLOSSARY_HERE = 'href="../glossary.md', f'href="../{glossary.PAGE.as_posix()}'
TABLES = ("lakehouse", "warehouse")  # data that a lab makes again
WORDS = """{title}

Open pages/*.html in a browser: your labs with their outputs, readable without Jupyter.
Open notebooks/ in JupyterLab or VS Code to run them again.
evidence.html lists each checkpoint you passed; evidence.json holds the same for programs.
files/ holds what you wrote on the project repository: manifests, code, models.

In this zip:
{names}
{left}"""


@dataclass(frozen=True)
class TakeAway:
    """A zip that was written: what is in it, and what was left out for which reason."""

    path: Path
    names: tuple[str, ...]
    left: dict[str, str]


def write(curriculum: Curriculum, found: Evidence, notebooks: Path, path: Path) -> TakeAway:
    """Write the zip of a workshop; `notebooks` is the learner's folder of copies."""
    known = secrets.of_run(Path(os.environ.get("LABSANDBOX_STATE", "/nonexistent")), os.environ)
    names: list[str] = []
    left: dict[str, str] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
    ):

        def add(name: str, content: str | bytes) -> None:
            archive.writestr(f"{ROOM}/{name}", content)
            names.append(name)

        add("evidence.html", evidence.page(found))
        add("evidence.json", found.record)
        for name, notebook in _copies(curriculum.labs_of(found.workshop), notebooks):
            text = notebook.read_text("utf-8")
            if said := _secret(text, known):
                left[f"notebooks/{name}"] = f"an output holds {said}"
                continue
            add(f"notebooks/{name}", text)
            if '"output_type"' in text:
                copied = shutil.copy(notebook, Path(folder) / notebook.name)
                html = page.write(Path(copied), notebook.parent)
                shown = html.read_text("utf-8").replace(TO_GLOSSARY, TO_GLOSSARY_HERE)
                add(f"pages/{notebook.stem}.html", shown)
        add(glossary.PAGE.as_posix(), (curriculum.root / glossary.PAGE).read_bytes())
        for picture in sorted((curriculum.root / "Pictures").glob(f"{found.workshop}-*.svg")):
            add(f"Pictures/{picture.name}", picture.read_bytes())
        for name, content in _files(known, left):
            add(f"files/{name}", content)
        lines = "".join(f"  {name}: {why}\n" for name, why in left.items())
        words = WORDS.format(
            title=found.title,
            names="\n".join(f"  {name}" for name in names),
            left=f"\nLeft out:\n{lines}" if left else "",
        )
        add("README.txt", words)
    return TakeAway(path, tuple(names), left)


def _copies(labs: Iterable[Lab], notebooks: Path) -> Iterator[tuple[str, Path]]:
    """Yield the learner's copies of labs, the practice copies and those put aside too."""
    for lab in labs:
        place = (notebooks / lab.file).parent
        for file in sorted(place.glob(f"{Path(lab.file).name}*.ipynb")):
            yield file.relative_to(notebooks).as_posix(), file


def _secret(text: str, known: set[str]) -> str:
    """Return what secret the outputs of a notebook hold, in words that do not repeat it."""
    try:
        outputs = [cell.get("outputs", []) for cell in json.loads(text)["cells"]]
    except (ValueError, KeyError, TypeError):
        return "no notebook that can be read"
    return ", ".join(secrets.search(json.dumps(outputs, ensure_ascii=False), known))


def _files(known: set[str], left: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield the learner's own files on the project repository, unless large or private."""
    repository, room = project_repo(), MOST
    for place in sorted(repository.glob(f"*/{user()}")):
        if place.parent.name in TABLES:
            continue
        for file in sorted(place.rglob("*")):
            name = file.relative_to(repository).as_posix()
            if file.is_symlink() or not file.is_file():
                continue
            size, mode = file.stat().st_size, file.stat().st_mode
            if size > min(LARGEST, room):
                left[f"files/{name}"] = f"{size / 2**20:.1f} MB is too large for this zip"
            elif not mode & 0o044:
                left[f"files/{name}"] = "only you may read it"
            else:
                content = file.read_bytes()
                if said := secrets.search(content.decode("utf-8", "replace"), known):
                    left[f"files/{name}"] = f"it holds {', '.join(said)}"
                    continue
                room -= size
                yield name, content
