"""CustomResourceDefinitions: the kinds they define, and whether they may.

`CustomKind(crd)` has `version(name)`, whose result reads, defaults and validates objects like a
built-in `KindSchema`. `conditions(crd, others)` is the status a definition gets.
"""

from labsandbox.apiserver.crd.conditions import accepted_status, conditions
from labsandbox.apiserver.crd.kind import Column, CustomKind, CustomVersion

__all__ = ["Column", "CustomKind", "CustomVersion", "accepted_status", "conditions"]
