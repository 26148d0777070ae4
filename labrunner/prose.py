"""Rules about the text of a lab: its words, links, pictures, and the names it mentions."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from labrunner import secrets
from labrunner.draft import Draft, python_of

CONDESCENDING = re.compile(r"\b(?:simply|just|obviously|of course|trivial(?:ly)?|easily)\b", re.I)
UNFINISHED = re.compile(r"\b(?:TODO|TBD|WIP|FIXME|XXX|lorem ipsum|insert \w+ here)\b", re.I)
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)[^)]*\)")
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<target>[^)\s]+)[^)]*\)")
HTML_IMAGE = re.compile(r"<img\b[^>]*>", re.I)
NAME = re.compile(r"^[a-z_][a-z0-9_]*$")
# Whose functions a lab may name in its text: what it imports, and what that stands on.
ROOMS = ("labhelpers", "labdata", "labshow", "labspark")
CALL = re.compile(r"^([A-Za-z_][\w.]*)\(\)?$")


def words_are_kind(draft: Draft) -> Iterator[str]:
    """No simply, just, obviously."""
    for cell in draft.prose:
        text = re.sub(r"`[^`]*`|```.*?```", "", cell.text, flags=re.S)
        for match in CONDESCENDING.finditer(text):
            yield f"`{match[0]}`: if it were, nobody would read it here."


def text_is_finished(draft: Draft) -> Iterator[str]:
    """No TODO, no TBD."""
    for cell in (*draft.prose, *draft.code):
        if match := UNFINISHED.search(cell.text):
            yield f"`{match[0]}`: finish it or take it out."


def links_lead_somewhere(draft: Draft) -> Iterator[str]:
    """A link to a file of ours leads to one."""
    for cell in draft.prose:
        for match in (*LINK.finditer(cell.text), *IMAGE.finditer(cell.text)):
            target = unquote(match["target"].partition("#")[0])
            if not target or re.match(r"[a-z]+:", target):
                continue
            if not (draft.folder / target).exists():
                yield f"`{match['target']}` leads nowhere."


def sources_are_two_to_four(draft: Draft) -> Iterator[str]:
    """A lab has two to four links to pages of others, each by HTTPS and once."""
    targets = [match["target"] for cell in draft.prose for match in LINK.finditer(cell.text)]
    outside = [target for target in targets if re.match(r"[a-z]+:", target)]
    if not 2 <= len(set(outside)) == len(outside) <= 4:
        yield f"{len(outside)} links to other pages, {len(set(outside))} different: give 2 to 4."
    for target in outside:
        address = urlsplit(target)
        if address.scheme != "https" or "." not in (address.hostname or "") or address.query:
            yield f"{target} is not the address of a page: https, a host, a path."


def pictures_have_words(draft: Draft) -> Iterator[str]:
    """A picture's alt text states its message."""
    for cell in draft.prose:
        for match in IMAGE.finditer(cell.text):
            if len(match["alt"].split()) < 3:
                yield f"the picture {match['target']} needs an alt text that states its message."
        for tag in HTML_IMAGE.findall(cell.text):
            alt = re.search(r"alt=([\"'])(.*?)\1", tag)
            if not alt or len(alt[2].split()) < 3:
                yield f"{tag} needs an alt text that states its message."


def secrets_are_absent(draft: Draft) -> Iterator[str]:
    """No secret in a cell."""
    for cell in draft.written:
        for found in secrets.search(cell.text, ()):
            yield f"holds {found}."


def names_in_text_exist(draft: Draft) -> Iterator[str]:
    """A `name` in the text, with an underscore or called(), is one that the lab's code has."""
    known = _names(draft)
    for cell in draft.prose:
        text = re.sub(r"```.*?```", "", cell.text, flags=re.S)
        for word in re.findall(r"`([^`\n]+)`", text):
            call = CALL.match(word)
            is_name = "_" in word.strip("_") and NAME.match(word)
            name = call[1].split(".")[-1] if call else word if is_name else ""
            if name and name not in known:
                yield f"`{word}` is not a name that stands in this lab's code any more."


def _names(draft: Draft) -> set[str]:
    """Return every word of the code, the words in its strings, and the helpers' names."""
    found = set(dir(builtins))
    for cell in (*draft.code, *draft.written):
        if cell.kind == "code":
            found |= set(re.findall(r"[A-Za-z_]\w*", cell.text))
    for room in ROOMS:
        for path in sorted((draft.root / room).rglob("*.py")):
            found |= _defined(path)
    return found


def _defined(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {path.stem} | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    }


def names_are_used(draft: Draft) -> Iterator[str]:
    """Every parameter is used by a cell."""
    code = [cell for cell in draft.code if "parameters" not in cell.tags]
    text = "\n".join(cell.text for cell in code)
    for cell in draft.code:
        if "parameters" not in cell.tags:
            continue
        for node in python_of(cell.text).body:
            target = getattr(node, "target", None)
            name = target.id if isinstance(target, ast.Name) else ""
            if name and not re.search(rf"\b{name}\b", text):
                yield f"the parameter `{name}` is used nowhere."


RULES = (
    words_are_kind,
    text_is_finished,
    links_lead_somewhere,
    sources_are_two_to_four,
    pictures_have_words,
    secrets_are_absent,
    names_in_text_exist,
    names_are_used,
)
