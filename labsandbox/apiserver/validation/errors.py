"""Problems with single fields, printed letter for letter as Kubernetes prints them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labsandbox.apiserver.validation.goprint import value_text

REQUIRED = "Required value"
INVALID = "Invalid value"
DUPLICATE = "Duplicate value"
FORBIDDEN = "Forbidden"
NOT_FOUND = "Not found"
NOT_SUPPORTED = "Unsupported value"
TOO_LONG = "Too long"
TOO_MANY = "Too many"
INTERNAL = "Internal error"
TYPE_INVALID = "Type invalid"

REASONS = {
    REQUIRED: "FieldValueRequired",
    INVALID: "FieldValueInvalid",
    DUPLICATE: "FieldValueDuplicate",
    FORBIDDEN: "FieldValueForbidden",
    NOT_FOUND: "FieldValueNotFound",
    NOT_SUPPORTED: "FieldValueNotSupported",
    TOO_LONG: "FieldValueTooLong",
    TOO_MANY: "FieldValueTooMany",
    INTERNAL: "InternalError",
    TYPE_INVALID: "FieldValueTypeInvalid",
}
OMIT = object()
"""A bad value that is not shown."""
WITHOUT_VALUE = (REQUIRED, FORBIDDEN, TOO_LONG, INTERNAL)


@dataclass(frozen=True)
class FieldError:
    """One problem: what is wrong, where, with which value, and the detail."""

    type: str
    field: str
    bad_value: Any
    detail: str = ""

    @property
    def message(self) -> str:
        """The problem without the field, as it stands in `causes`."""
        if self.type in WITHOUT_VALUE or self.bad_value is OMIT:
            text = self.type
        else:
            shown = INVALID if self.type == TYPE_INVALID else self.type
            text = f"{shown}: {value_text(self.bad_value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def cause(self) -> dict[str, Any]:
        """The entry of a Status' `details.causes`."""
        return {"reason": REASONS[self.type], "message": self.message, "field": self.field}

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(REQUIRED, field, "", detail)


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(INVALID, field, value, detail)


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(TYPE_INVALID, field, value, detail)


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError(DUPLICATE, field, value)


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError(FORBIDDEN, field, "", detail)


def not_found(field: str, value: Any) -> FieldError:
    return FieldError(NOT_FOUND, field, value)


def not_supported(field: str, value: Any, allowed: Iterable[str]) -> FieldError:
    """`allowed` is printed in the order given; most lists in Kubernetes are sorted."""
    shown = ", ".join(value_text(item) for item in allowed)
    return FieldError(NOT_SUPPORTED, field, value, f"supported values: {shown}" if shown else "")


def too_long(field: str, limit: int) -> FieldError:
    detail = f"may not be more than {limit} bytes" if limit >= 0 else "value is too long"
    return FieldError(TOO_LONG, field, "", detail)


def too_many(field: str, count: int, limit: int) -> FieldError:
    return FieldError(TOO_MANY, field, count, f"must have at most {limit} items")


def internal(field: str, detail: str) -> FieldError:
    return FieldError(INTERNAL, field, "", detail)
