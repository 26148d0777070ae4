"""Judge labels and annotations that users want on pods and services."""

from __future__ import annotations

import re

from labsandbox.kubedirector.admission.verdict import Verdict
from labsandbox.kubedirector.model import Object

_NAME = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
_DOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_NAME_LENGTH, _DOMAIN_LENGTH = 63, 253
_ANNOTATIONS_SIZE = 256 * 1024


def check_marks(path: str, holder: Object, verdict: Verdict) -> bool:
    """Refuse labels and annotations Kubernetes would not take; say whether all are fine."""
    before = len(verdict.errors)
    for name in ("podLabels", "podAnnotations", "serviceLabels", "serviceAnnotations"):
        values = holder.get(name) or {}
        where = f"{path}.{name}"
        for key, value in values.items():
            if not _is_key(key):
                verdict.refuse(
                    f'{where}: Invalid value: "{key}": a key such as "name" or "example.com/name" '
                    "was expected"
                )
            if name.endswith("Labels") and not _is_label_value(value):
                verdict.refuse(
                    f'{where}: Invalid value: "{value}": a label value has at most 63 characters: '
                    "letters, digits, '-', '_' and '.', first and last a letter or digit"
                )
        if name.endswith("Annotations") and sum(map(len, values.values())) > _ANNOTATIONS_SIZE:
            verdict.refuse(f"{where}: Too long: must have at most {_ANNOTATIONS_SIZE} bytes")
    return len(verdict.errors) == before


def _is_key(key: str) -> bool:
    domain, slash, name = key.rpartition("/")
    if slash and not (_DOMAIN.match(domain) and len(domain) <= _DOMAIN_LENGTH):
        return False
    return bool(_NAME.match(name)) and len(name) <= _NAME_LENGTH


def _is_label_value(value: str) -> bool:
    return value == "" or (bool(_NAME.match(value)) and len(value) <= _NAME_LENGTH)
