"""How a kind is validated, in the words of its strategy in kube-apiserver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labsandbox.apiserver.validation.errors import FieldError
from labsandbox.apiserver.validation.meta import NameCheck, subdomain_name

Json = dict[str, Any]
Check = Callable[[Json], list[FieldError]]
Comparison = Callable[[Json, Json], list[FieldError]]


@dataclass(frozen=True)
class Rule:
    """How a kind is validated.

    `order` is what an update checks after the checks every kind shares, step by step: "meta"
    compares metadata, "create" repeats the checks of a new object, "spec" repeats them without
    metadata, "compare" calls `update`. Real strategies call the same function twice here and there,
    and clients see it: each call adds its entries to `details.causes`.
    """

    create: Check | None = None
    update: Comparison | None = None
    status: Comparison | None = None
    name: NameCheck = subdomain_name
    order: tuple[str, ...] = ("meta", "spec")
    core: bool = True
    meta: bool = True
    """A new object's metadata is checked by the kind itself, not only by the shared checks."""
    status_meta: bool = True
    """A status update compares metadata once more."""


COMPARED = ("meta", "spec", "compare")
MERGED = ("meta", "compare", "create")
THEN_META = ("create", "meta")
THEN_COMPARED = ("create", "meta", "compare")
REPEATED = ("create", "meta", "spec")
REPEATED_COMPARED = ("create", "meta", "spec", "compare")
TWICE = ("create", "create", "meta")
TWICE_COMPARED = ("create", "create", "meta", "compare")
