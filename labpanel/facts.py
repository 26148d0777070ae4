"""What the panel says: labs, progress, platform. No name, address or word that is a secret.

Everything is looked up while somebody looks: progress is a file, read each time; the doors of the
platform are knocked at, and a sandbox of the learner's own tells of itself through its program,
every few seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labpanel import copies, gate, questions, standing
from labpanel.standing import Door, Standing
from labrunner import curriculum, glossary, sandbox
from labrunner.errors import BadCurriculum

CHECKOUT = Path(__file__).resolve().parents[1]
_STATUS_SECONDS = 20.0
_NEWS_SECONDS = 600.0


@dataclass
class Kept:
    """An answer that is looked up in a thread, at most once in a while."""

    look: Callable[[], Any]
    seconds: float
    value: Any = None
    is_awaited: bool = True  # the first answer is waited for
    _at: float = -1e9
    _task: asyncio.Task[None] | None = field(default=None, repr=False)

    async def now(self) -> Any:
        """Return the answer; wait only for the first one, an old one is renewed behind it."""
        if self._task is None and time.monotonic() - self._at > self.seconds:
            self._task = asyncio.create_task(self._renew())
        if self._task is not None and self._at < 0 and self.is_awaited:
            await asyncio.shield(self._task)
        return self.value

    def rest(self) -> None:
        """Look for the first time when the seconds have passed, not at once."""
        self._at = time.monotonic() - self.seconds / 2

    async def _renew(self) -> None:
        try:
            self.value = await asyncio.to_thread(self.look)
        finally:
            self._at, self._task = time.monotonic(), None


class Facts:
    """The facts for one Jupyter server."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._doors = Kept(standing.doors, 4)
        # Half a second of a processor, which the first page needs more.
        self._sandbox = Kept(status_of_sandbox, 15, value={}, is_awaited=False)
        self._sandbox.rest()

    async def state(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        labs = await asyncio.to_thread(self._look_at_labs)
        following = next((lab["id"] for lab in labs if not lab["done"]), None)
        return {
            "labs": labs,
            "next": following,
            "glossary": await asyncio.to_thread(glossary_below, self.root),
            "platform": await self._platform(),
            "notice": await asyncio.to_thread(notice),
        }

    async def _platform(self) -> dict[str, Any]:
        if gate.is_shut():
            return describe([], {}, own=True, starting=True)
        found = {}
        if own := is_own_sandbox():
            found = await self._sandbox.now()
        return describe(await self._doors.now(), found, own=own)

    def _look_at_labs(self) -> list[dict[str, Any]]:
        try:
            notebooks = notebooks_below(self.root)
        except BadCurriculum:  # its author is typing
            return []
        titles = curriculum.load(CHECKOUT).titles()
        below = notebooks and notebooks.relative_to(self.root)
        known = {lab.id: lab for lab in curriculum.load(CHECKOUT).labs}
        is_practice = os.environ.get("LABS_PRACTICE") == "1"  # `labs class --practice` sets it
        releases = {} if notebooks is None else copies.read(notebooks.parent)
        return [
            told(
                lab,
                None if below is None else (below / lab.file).as_posix(),
                practice=practice_below(self.root, notebooks, lab.file),
                is_practice=is_practice,
                has_news=lab.id in known and copies.is_waiting(releases, known[lab.id]),
                workshop=titles.get(lab.id, ""),
            )
            for lab in standing.labs(CHECKOUT, notebooks)
        ]


def answered(root: Path, lab_id: str, text: str, number: int) -> bool | None:
    """Note a learner's answer to a question; tell whether it is right, None for no such question.

    Which answer is right is read from the lab, not from what the browser sends.
    """
    lab = next((one for one in curriculum.load(CHECKOUT).labs if one.id == lab_id), None)
    if lab is None:
        return None
    for place in (notebooks_below(root.resolve()), CHECKOUT / "notebooks"):
        for question in questions.of(place / f"{lab.file}.ipynb") if place else ():
            if question.text == text and 0 <= number < len(question.answers):
                return questions.answer(lab_id, question, number)
    return None


def notebooks_below(root: Path) -> Path | None:
    """Return the learner's folder of notebooks, when this server can open it.

    It holds the learner's own copies, on a laptop as on a hub; for authors it is the checkout's.
    """
    first = f"{curriculum.load(CHECKOUT).labs[0].file}.ipynb"
    for place in (root, root / "notebooks", CHECKOUT / "notebooks", *root.glob("*/notebooks")):
        if place.is_relative_to(root) and (place / first).is_file():
            return place
    return None


def glossary_below(root: Path) -> str | None:
    """Return where this server opens the glossary, None when it has none."""
    try:
        notebooks = notebooks_below(root)
    except BadCurriculum:
        return None
    page = notebooks and notebooks / glossary.PAGE.name
    return page.relative_to(root).as_posix() if page and page.is_file() else None


def practice_below(root: Path, notebooks: Path | None, file: str) -> str | None:
    """Return where this server opens the practice copy of a lab, None when there is none."""
    if notebooks is None:
        return None
    path = notebooks / f"{file.removesuffix('.ipynb')}-practice.ipynb"
    return path.relative_to(root).as_posix() if path.is_file() else None


def told(
    lab: Standing,
    path: str | None,
    *,
    practice: str | None = None,
    is_practice: bool = False,
    has_news: bool = False,
    workshop: str = "",
) -> dict[str, Any]:
    """Return a lab for the page; `path` is where this server opens it, None when it cannot.

    `practice` is where its practice copy is, None without one; `is_practice`: the title opens it.
    `has_news`: a new release waits, because the learner's copy was changed.
    """
    return {
        **{key: value for key, value in asdict(lab).items() if key != "file"},
        "done": lab.is_done,
        "words": lab.words,
        "score": lab.score,
        "path": path,
        "practice": practice,
        "opens_practice": is_practice and practice is not None,
        "has_news": has_news,
        "workshop": workshop,
    }


def notice() -> str:
    """Return what a class's host had to end of this learner's, within the last ten minutes."""
    file = Path(os.environ.get("LABS_NOTICE", ""))
    try:
        is_news = time.time() - file.stat().st_mtime < _NEWS_SECONDS
        return file.read_text("utf-8").strip() if is_news else ""
    except OSError:
        return ""


def is_own_sandbox() -> bool:
    """Tell whether the platform is a sandbox of this learner's: on a hub it is everybody's."""
    return "LABSANDBOX_STATE" in os.environ and "JUPYTERHUB_API_TOKEN" not in os.environ


def status_of_sandbox() -> dict[str, Any]:
    """Ask the sandbox's program how it is; nothing when it does not say."""
    program = sandbox.command()
    if program is None:
        return {}
    try:
        asked = subprocess.run(
            [program, "status", "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_STATUS_SECONDS,
            check=False,
        )
        found = json.loads(asked.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
    return found if isinstance(found, dict) else {}


def describe(
    doors: list[Door], found: dict[str, Any], *, own: bool, starting: bool = False
) -> dict[str, Any]:
    """Put the platform into words.

    >>> describe([], {}, own=False)["words"]
    'No platform is configured'
    >>> describe([Door("Front door", True, "answers")], {}, own=False)["status"]
    'ready'
    """
    name = "The sandbox" if own else "The platform"
    status, words, cure = "ready", f"{name} is ready", ""
    if starting or found.get("phase", "").startswith("starting"):
        status, words = "starting", f"{name} is starting"
    elif not doors:
        status, words = "none", "No platform is configured"
        cure = "Type `make lab` in a terminal: it starts one."
    elif not doors[0].is_open:
        status, words = "trouble", f"{name} does not answer"
        cure = "Close JupyterLab and type `make lab` again; `labsandbox logs` says more."
        if not own:
            cure = "Ask who runs it; `labs doctor` says what this machine sees."
    return {
        "status": status,
        "words": words,
        "cure": cure,
        "doors": [asdict(door) for door in doors],
        "applications": _applications(found) if status == "ready" else [],
        "memory_mb": found.get("memory_mb") if status == "ready" else None,
    }


def _applications(found: dict[str, Any]) -> list[dict[str, str]]:
    """Return what runs on the sandbox, by name; addresses and namespaces stay out."""
    rows = found.get("tables", {}).get("KubeDirector clusters", [[]])
    return [dict(zip(("name", "app", "state"), row[1:4], strict=False)) for row in rows[1:]]
