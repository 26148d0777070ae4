"""Kubernetes' flavour of CEL."""

from __future__ import annotations


class CelError(ValueError):
    """An expression that cannot be compiled or evaluated."""


def compile(text: str) -> object:
    return object()
