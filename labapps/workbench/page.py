"""The rules of lists: search_filter, sort, page_size and page_token, as SQL on JSON."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from labapps.workbench.database import Database
from labapps.workbench.refusal import invalid

__all__ = ["Page", "listed"]

DEFAULT, MOST = 10, 1000
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z")
HIDDEN = frozenset({"digest", "submitted", "run_key", "parent_facts"})


@dataclass(frozen=True)
class Page:
    """What a client asked of a list.

    >>> page = Page.of({"search_filter": '{"owner.username": "ann"}', "sort": "-name"})
    >>> page.filters, page.sorting
    ((('owner.username', 'ann'),), (('name', True),))
    """

    filters: tuple[tuple[str, str], ...] = ()
    sorting: tuple[tuple[str, bool], ...] = ()
    size: int = DEFAULT
    offset: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Page:
        """Read the parameters of a list; refuse what cannot be meant."""
        return cls(
            _filters(query.get("search_filter", "")),
            _sorting(query.get("sort", "")),
            _size(query.get("page_size", "")),
            _offset(query.get("page_token", "")),
        )

    def where(self, base: Database) -> tuple[list[str], list[Any]]:
        """Return conditions and their values."""
        words = [f"{base.text(name)}=?" for name, _ in self.filters]
        return words, [value for _, value in self.filters]

    def mapped(self, name: str, change: Callable[[str], str]) -> Page:
        """Return the page with the filter on one field written another way."""
        pairs = tuple((k, change(v) if k == name else v) for k, v in self.filters)
        return replace(self, filters=pairs)

    def order(self, base: Database) -> str:
        """Return the order; by creation where nothing else is asked."""
        words = [base.order(name, down=down) for name, down in self.sorting]
        # The same way as the last key, so that an index can serve both.
        last = "DESC" if self.sorting and self.sorting[-1][1] else "ASC"
        return ", ".join([*words, f"seq {last}"])

    @staticmethod
    def token(offset: int) -> str:
        return base64.urlsafe_b64encode(f"at:{offset}".encode()).decode()


def listed(records: list[dict[str, Any]], page: Page) -> tuple[list[dict[str, Any]], str]:
    """Apply a page to records that lie in no database.

    >>> listed([{"name": "a"}, {"name": "b"}], Page(sorting=(("name", True),), size=1))[0]
    [{'name': 'b'}]
    """
    found = [
        record
        for record in records
        if all(_plain(_field(record, name)) == value for name, value in page.filters)
    ]
    for name, down in reversed(page.sorting):
        found.sort(key=partial(_rank, name), reverse=down)
    end = page.offset + page.size
    return found[page.offset : end], page.token(end) if len(found) > end else ""


def _field(record: dict[str, Any], path: str) -> Any:
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _rank(name: str, record: dict[str, Any]) -> tuple[bool, Any]:
    value = _field(record, name)
    return (True, value) if isinstance(value, int | float) else (False, str(value))


def _filters(text: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    try:
        found = json.loads(text)
    except ValueError as error:
        raise invalid(
            f"search_filter is not JSON: {error}. "
            'Write it like {"name":"train","creator.name":"ann"}.'
        ) from error
    if not isinstance(found, dict):
        raise invalid('search_filter must be an object, such as {"name":"train"}.')
    return tuple((_name(key, "search_filter"), _value(value)) for key, value in found.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    raise invalid("A value of search_filter must be a text, a number or a truth value.")


def _name(text: str, where: str) -> str:
    if not NAME.match(text) or text.partition(".")[0] in HIDDEN:
        raise invalid(f"{where} cannot use the key {text!r}; keys look like name or owner.username")
    return text


def _sorting(text: str) -> tuple[tuple[str, bool], ...]:
    # In a query string an unescaped + arrives as a blank.
    words = [word.strip() for word in text.split(",") if word.strip()]
    return tuple((_name(word.lstrip("+-"), "sort"), word.startswith("-")) for word in words)


def _size(text: str) -> int:
    if not text:
        return DEFAULT
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= MOST:
        raise invalid(f"page_size must be a number from 1 to {MOST}; found {text!r}.")
    return int(text)


def _offset(text: str) -> int:
    if not text:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(text.encode()).decode().partition(":")
        if word == "at" and 0 < int(number) < 1 << 60:
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise invalid("page_token is not one of this list; repeat the next_page_token of the answer.")
