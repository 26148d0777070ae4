"""A request as the handlers see it: who asks, names of the path, fields of the body."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labapps.web.asgi import Request
from labapps.workbench.keys import User
from labapps.workbench.page import Page
from labapps.workbench.refusal import invalid

__all__ = ["Ask", "Handler", "Route"]


@dataclass
class Ask:
    """One request."""

    user: User
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any] = field(default_factory=dict)
    raw: Request | None = None

    @classmethod
    def of_body(cls, body: dict[str, Any]) -> Ask:
        """Return a way to read the fields of an object within a body."""
        return cls(User(""), {}, {}, body)

    def within(self, params: Mapping[str, str], body: dict[str, Any]) -> Ask:
        """Return a request that this one implies, by the same user."""
        return Ask(self.user, {**self.params, **params}, {}, body)

    def inside(self, name: str) -> dict[str, Any]:
        """Return a field that is an object, empty when it is not there."""
        value = self.body.get(name) or {}
        if not isinstance(value, dict):
            raise invalid(f"{name} must be an object; found {value!r}.")
        return value

    @property
    def page(self) -> Page:
        return Page.of(self.query)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a field that is a text; without a default it must be there."""
        value = self.body.get(name, default)
        if value is None or (default is None and value == ""):
            raise invalid(f"The field {name} is missing in the body.")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise invalid(f"The field {name} must be a text; found {type(value).__name__}.")
        return str(value)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """Return a field that is a number, sent as a number or as text."""
        value = self.body.get(name)
        if value is None or value == "":
            return default
        try:
            found = float(value) if not isinstance(value, bool) else float("nan")
        except (TypeError, ValueError):
            found = float("nan")
        if not least <= found <= most:
            raise invalid(f"{name} must be a number from {least:g} to {most:g}; found {value!r}.")
        return found

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.body.get(name, default)
        if not isinstance(value, bool):
            raise invalid(f"{name} must be true or false; found {value!r}.")
        return value

    def table(self, name: str) -> dict[str, str]:
        """Return a field that is an object of texts, such as environment."""
        value: Any = self.body.get(name) or {}
        if isinstance(value, str):
            # As answers write it, so that an answer can be sent back.
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        plain = isinstance(value, dict) and all(
            isinstance(v, str | int | float) and "\0" not in f"{k}{v}" and k and "=" not in k
            for k, v in value.items()
        )
        if not plain:
            raise invalid(f'{name} must be an object of texts, such as {{"SIZE":"10"}}.')
        return {k: str(v) for k, v in value.items()}


Handler = Callable[[Ask], Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    """A line of the API: verb, path, what it is called, what its body may hold, what comes back."""

    verb: str
    path: str
    name: str
    summary: str
    handler: Handler
    fields: tuple[str, ...] = ()
    is_list: bool = False
    is_raw: bool = False
