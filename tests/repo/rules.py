"""The rules of the house for the whole repository; each yields sentences, none repeats a secret."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote

from labrunner import secrets
from labrunner.forbidden import ASKS_WHERE, MACHINE_PATH, UNVERIFIED
from labrunner.prose import HTML_IMAGE, IMAGE, LINK
from tests.repo.tree import PACKAGES, ROOMS, Tree

Rule = Callable[[Tree], Iterator[str]]

LONGEST_MODULE = 400
LARGEST_FILE = 5 * 1024 * 1024
LARGEST_PICTURE = 100 * 1024
RECORDED = (
    "tests/golden/recordings/",
    "requirements.lock",
    "LICENSE",
    "tests/sandbox/kubedirector/snapshot/",
)
ABOUT_RULES = (
    "tests/repo/",
    "labrunner/code.py",
    "labrunner/forbidden.py",
    "labrunner/prose.py",
    "labrunner/secrets.py",
)

HOSTS = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|repo1?\.maven(?:\.apache)?\.org|registry\.npmjs\.org"
    r"|(?:conda\.)?anaconda\.org|docker\.io|quay\.io|ghcr\.io|gcr\.io|registry\.k8s\.io"
    r"|mcr\.microsoft\.com|unpkg\.com|jsdelivr\.net)\b"
)
INDEX_OPTION = re.compile(r"(?:--(?:extra-)?index-url|--find-links|--trusted-host)[ =]\S")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|TBD|WIP)\b")
VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "misc", "stuff"}
DEAD = re.compile(r"(?:_v\d+|_old|_new|_backup|_copy|\.bak|\.orig|~)$")


def secrets_are_absent(tree: Tree) -> Iterator[str]:
    """No file holds anything shaped like a secret."""
    for path, text in tree.texts.items():
        if not path.startswith(RECORDED):
            for found in secrets.search(text, ()):
                yield f"{path} holds {found}"


def index_addresses_are_absent(tree: Tree) -> Iterator[str]:
    """No file names a package index or a registry: every site has its own."""
    for path, text in tree.texts.items():
        if path.startswith(ABOUT_RULES) or path.startswith(RECORDED[0]):
            continue
        for pattern in (HOSTS, INDEX_OPTION):
            if match := pattern.search(text):
                yield f"{path} names {match[0]!r}; leave the index to the site"


def links_lead_somewhere(tree: Tree) -> Iterator[str]:
    """A relative link in a page leads to a file."""
    folders = {str(parent) for path in tree.files for parent in PurePosixPath(path).parents}
    for path, text in _pages(tree):
        for match in (*LINK.finditer(text), *IMAGE.finditer(text)):
            target = unquote(match["target"].partition("#")[0])
            if not target or re.match(r"[a-z]+:", target):
                continue
            place = _normal(PurePosixPath(path).parent / target)
            if place not in tree.files and place not in folders:
                yield f"{path} links to {match['target']}, which is not there"


def anchors_exist(tree: Tree) -> Iterator[str]:
    """A link to a heading of the same page finds it."""
    for path, text in _pages(tree):
        anchors = {
            re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.M)
        }
        for match in LINK.finditer(text):
            if match["target"].startswith("#") and match["target"][1:] not in anchors:
                yield f"{path} links to {match['target']}, and no heading is called so"


def pictures_have_words(tree: Tree) -> Iterator[str]:
    """A picture in a page has an alt text that states its message."""
    for path, text in _pages(tree):
        for match in IMAGE.finditer(text):
            if len(match["alt"].split()) < 3:
                yield f"{path}: {match['target']} needs an alt text that states its message"
        for tag in HTML_IMAGE.findall(text):
            alt = re.search(r"alt=([\"'])(.*?)\1", tag, re.S)
            if not alt or len(alt[2].split()) < 3:
                yield f"{path}: {tag[:60]} needs an alt text that states its message"


def pictures_are_small_and_used(tree: Tree) -> Iterator[str]:
    """A picture is at most 100 KB and shown by a page or a lab."""
    pages = "\n".join(text for path, text in tree.texts.items() if path.endswith((".md", ".py")))
    for path, content in tree.files.items():
        if not path.startswith("Pictures/") or path.startswith("Pictures/_src/"):
            continue
        if len(content) > LARGEST_PICTURE:
            yield f"{path} has {len(content) // 1024} KB; 100 at most"
        if PurePosixPath(path).name not in pages:
            yield f"{path} is shown nowhere"


def modules_are_short(tree: Tree) -> Iterator[str]:
    """No module has more than 400 lines."""
    for path, text in tree.python():
        is_lab = path.startswith("notebooks/")  # labs have their own measure
        if (lines := len(text.splitlines())) > LONGEST_MODULE and not is_lab:
            yield f"{path} has {lines} lines; it is more than one noun"


def modules_are_nouns(tree: Tree) -> Iterator[str]:
    """No utils, helpers, common, manager; no _v2, no _old."""
    for path in tree.files:
        stem = PurePosixPath(path).stem
        if path.endswith(".py") and stem.lower() in VAGUE:
            yield f"{path} is named after nothing; call it by what it holds"
        if path.startswith(PACKAGES) and DEAD.search(stem):
            yield f"{path} has the name of a dead file"


def nothing_sleeps(tree: Tree) -> Iterator[str]:
    """No bare sleep: a pause stands in a loop that looks at something.

    Where the duration is the thing itself (a stand-in job works so long), the line says so:
    `# pause: why`.
    """
    for path, text in tree.python():
        if "sleep(" not in text:
            continue
        nodes, lines = _walk(text), text.splitlines()
        looped = {
            id(inner)
            for loop in nodes
            if isinstance(loop, ast.While | ast.For | ast.AsyncFor)
            for inner in ast.walk(loop)
        }
        for node in nodes:
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep")
                and id(node) not in looped
                and "# pause: " not in lines[node.lineno - 1]
                and [ast.unparse(one) for one in node.args] != ["0"]
            ):
                yield f"{path}:{node.lineno} sleeps; wait for a condition with a deadline"


def errors_are_not_swallowed(tree: Tree) -> Iterator[str]:
    """No bare except, no `except Exception: print`, no `except Exception: pass`."""
    for path, text in tree.python():
        if not re.search(r"except(?: \(?Exception| \(?BaseException|:)", text):
            continue
        for node in _walk(text):
            if not isinstance(node, ast.ExceptHandler):
                continue
            if node.type is None:
                yield f"{path}:{node.lineno} catches everything"
            elif ast.unparse(node.type) in ("Exception", "BaseException"):
                body = " ".join(ast.unparse(one) for one in node.body)
                if re.fullmatch(r"(?:pass|print\(.*\))", body, re.S):
                    yield f"{path}:{node.lineno} swallows every error"


def nothing_asks_where_it_runs(tree: Tree) -> Iterator[str]:
    """No branch on being in a test or in the sandbox."""
    for path, text in tree.texts.items():
        if path.startswith(ABOUT_RULES):
            continue
        if path.startswith((*PACKAGES, "notebooks/")) and (match := ASKS_WHERE.search(text)):
            yield f"{path} asks {match[0]}; the path that is tested is the path that is taught"


def certificates_are_verified(tree: Tree) -> Iterator[str]:
    """No file switches the check of certificates off."""
    for path, text in tree.texts.items():
        if path.startswith((*ABOUT_RULES, *RECORDED, "tests/")):
            continue
        if match := UNVERIFIED.search(text):
            yield f"{path}: {match[0]!r} switches the check of certificates off"


def paths_are_portable(tree: Tree) -> Iterator[str]:
    """No path of one machine."""
    for path, text in tree.texts.items():
        if path.startswith((*ABOUT_RULES, *RECORDED)):
            continue
        if match := MACHINE_PATH.search(text):
            yield f"{path} names {match[0]!r}, a path of one machine"


def text_is_finished(tree: Tree) -> Iterator[str]:
    """No TODO, no FIXME."""
    for path, text in tree.texts.items():
        if path.startswith((*ABOUT_RULES, *RECORDED)):
            continue
        if match := UNFINISHED.search(text):
            yield f"{path} says {match[0]}; finish it or take it out"


def files_are_small(tree: Tree) -> Iterator[str]:
    """No committed file has 5 MB or more."""
    for path, content in tree.files.items():
        if len(content) >= LARGEST_FILE:
            yield f"{path} has {len(content) >> 20} MB"


def tests_say_what_they_show(tree: Tree) -> Iterator[str]:
    """A test is called test_<subject>_<behaviour>."""
    for path, text in tree.python("tests/"):
        for name in re.findall(r"^\s*(?:async )?def (test_\w*)\(", text, re.M):
            if len(name.split("_")) < 3:
                yield f"{path}: {name} does not say what it shows"


def modules_say_why(tree: Tree) -> Iterator[str]:
    """A module begins with why it exists; what it exports exists and has a sentence.

    Exported is what `__all__` names, and in labhelpers, labrunner, labpanel and labclass every
    public name.
    """
    for path, text in tree.python(*ROOMS):
        module = _parse(text)
        if module is None:
            continue
        if not ast.get_docstring(module) and text.strip():
            yield f"{path} does not say why it exists"
        defined = {
            node.name: node
            for node in module.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        exported = _exported(module)
        if path.startswith(("labhelpers/", "labrunner/", "labpanel/", "labclass/")):
            exported |= {name for name in defined if not name.startswith("_")}
        for name in sorted(exported):
            if name in defined and not ast.get_docstring(defined[name]):
                yield f"{path}: {name} has no sentence"
            if not re.search(rf"^[^#]*\b{name}\b(?!\")", text, re.M):
                yield f"{path}: {name} is exported and does not exist"


def _exported(module: ast.Module) -> set[str]:
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return {ast.literal_eval(one) for one in getattr(node.value, "elts", ())}
    return set()


def _pages(tree: Tree) -> Iterator[tuple[str, str]]:
    for path, text in tree.texts.items():
        if path.endswith(".md") and not path.startswith(RECORDED):
            yield path, re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts) or "."


@functools.cache
def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except SyntaxError:
        return None


@functools.cache
def _walk(text: str) -> list[ast.AST]:
    module = _parse(text)
    return [] if module is None else list(ast.walk(module))


RULES: tuple[Rule, ...] = (
    secrets_are_absent,
    index_addresses_are_absent,
    links_lead_somewhere,
    anchors_exist,
    pictures_have_words,
    pictures_are_small_and_used,
    modules_are_short,
    modules_are_nouns,
    nothing_sleeps,
    errors_are_not_swallowed,
    nothing_asks_where_it_runs,
    certificates_are_verified,
    paths_are_portable,
    text_is_finished,
    files_are_small,
    tests_say_what_they_show,
    modules_say_why,
)
