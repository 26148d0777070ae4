"""Read YAML that we ship or wrote, with libyaml where PyYAML has it, which is faster."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["documents"]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents(text: str) -> list[Any]:
    """Return the documents of a text.

    >>> documents("kind: Pod\\n---\\nkind: Service\\n")
    [{'kind': 'Pod'}, {'kind': 'Service'}]
    """
    return list(yaml.load_all(text, _LOADER))
