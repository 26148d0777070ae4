"""What labs.toml says of all workshops: what one learner takes at most, and what the labs order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache

from kubernetes.utils import quantity as quantities

from labrunner import curriculum

__all__ = ["applications", "largest", "learner", "notebook", "parse"]


def parse(amount: str) -> Decimal:
    """Read a quantity such as 500m or 2Gi."""
    return Decimal(quantities.parse_quantity(amount))  # type: ignore[no-untyped-call]


def largest(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the largest amount of each name.

    >>> largest([{"pods": "3", "cpu": "600m"}, {"cpu": "1"}])
    {'pods': '3', 'cpu': '1'}
    """
    found: dict[str, str] = {}
    for part in parts:
        for name, amount in part.items():
            if name not in found or parse(found[name]) < parse(amount):
                found[name] = amount
    return found


@cache
def applications() -> tuple[str, ...]:
    """Return the applications that the labs order, in the order of the workshops."""
    every = (app for workshop in curriculum.load().workshops for app in workshop.applications)
    return tuple(dict.fromkeys(every))


@cache
def learner() -> dict[str, str]:
    """Return what one learner has at most at the same time."""
    return largest(workshop.learner for workshop in curriculum.load().workshops)


@cache
def notebook() -> dict[str, str]:
    """Return what a learner's notebook asks for."""
    return largest(workshop.notebook for workshop in curriculum.load().workshops)
