"""Every command in README and CONTRIBUTING exists; every target of the Makefile is explained."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer.main

from labrunner.cli import app
from tests.repo.tree import ROOT, Tree

pytestmark = pytest.mark.fast

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.M))
COMMANDS: dict[str, set[str]] = {
    name: {option for parameter in command.params for option in parameter.opts}
    for name, command in typer.main.get_group(app).commands.items()
}
PAGES = ("README.md", "CONTRIBUTING.md")


def code_of(text: str) -> Iterator[str]:
    """Yield the lines of code of a page: blocks and words in backticks."""
    for block in re.findall(r"```\w*\n(.*?)```", text, re.S):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


def unknown(text: str) -> list[str]:
    """Return the commands of a page that do not exist."""
    found = []
    for line in code_of(text):
        words = line.partition("#")[0].split()
        if words[:1] == ["make"] and len(words) > 1 and words[1] not in TARGETS:
            found.append(line)
        if words[:1] == ["labs"] and len(words) > 1:
            options = {word for word in words if word.startswith("--")}
            if words[1] not in COMMANDS or options - COMMANDS[words[1]]:
                found.append(line)
        if match := re.search(r'make replay ARGS="([^"]*)"', line):
            options = {word for word in match[1].split() if word.startswith("--")}
            found += sorted(options - COMMANDS["replay"])
    return found


@pytest.mark.parametrize("page", PAGES)
def test_page_names_only_commands_that_exist(page: str) -> None:
    assert unknown((ROOT / page).read_text("utf-8")) == []


@pytest.mark.parametrize("line", ["make coffee", "labs fly", "labs replay --faster"])
def test_command_that_does_not_exist_is_found(line: str) -> None:
    assert unknown(f"```sh\n{line}  # now\n```") != []
    assert unknown(f"Type `{line}`.") != []


def test_every_command_of_labs_is_explained() -> None:
    group = typer.main.get_group(app)
    assert all(command.help for command in group.commands.values())


def test_every_target_has_a_line_of_help() -> None:
    explained = set(re.findall(r"^([a-z]+):.*## \S", MAKEFILE, re.M))
    assert explained == TARGETS


def test_readme_fits_on_one_screen_beside_its_table_of_labs() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    before, _, rest = text.partition("<!-- labs: ")
    _, mark, after = rest.partition("<!-- end of labs -->")
    assert mark
    assert len((before + after).splitlines()) <= 40


def test_map_of_contributing_is_the_folders_there_are() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    mapped = {name.split("/")[0] for name in re.findall(r"^\| `([\w/]+)` \|", text, re.M)}
    paths = (path.split("/") for path in Tree.of_checkout().files)
    folders = {parts[0] for parts in paths if len(parts) > 1 and not parts[0].startswith(".")}
    derived = {name for name in mapped if "." in name or name.isupper()}
    assert mapped - derived == folders
