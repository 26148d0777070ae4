"""PodSecurity: the standards a namespace asks for with its labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.request import CREATE, UPDATE, Request
from labsandbox.apiserver.admission.security_checks import (
    BASELINE,
    RESTRICTED,
    Violation,
)
from labsandbox.apiserver.status import invalid
from labsandbox.apiserver.validation.errors import INVALID, FieldError

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api

Json = dict[str, Any]
PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
MODES = ("enforce", "audit", "warn")
VERSION = re.compile(r"v1\.([0-9]|[1-9][0-9]*)")
TEMPLATES = {
    "replicationcontrollers": ("spec", "template"),
    "podtemplates": ("template",),
    "replicasets.apps": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}


class Level(NamedTuple):
    """A standard in a version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class PodSecurity(Quiet):
    """Refuses pods, warns about templates, checks the labels of namespaces."""

    keys = frozenset(("pods", "pods/ephemeralcontainers", "namespaces", *TEMPLATES))

    def __init__(self, api: Api, stock: Collections) -> None:
        self._api = api
        self._stock = stock

    async def validate(self, request: Request) -> None:
        if request.object is None or request.operation not in (CREATE, UPDATE):
            return
        if request.resource.plural == "namespaces":
            self._check_namespace(request)
            return
        labels = self._stock.namespace_labels(request.namespace)
        if not any(key.startswith(PREFIX) for key in labels):
            return
        if request.resource.plural == "pods":
            self._check_pod(request, labels)
        else:
            self._check_template(request, labels)

    def _check_pod(self, request: Request, labels: dict[str, str]) -> None:
        pod = request.object or {}
        if request.operation == UPDATE and not _is_significant(request):
            return
        metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        enforce, warn = _level(labels, "enforce"), _warn_level(labels)
        found = list(violations(enforce, metadata, spec))
        if found:
            raise request.refuse(f'violates PodSecurity "{enforce}": {_detailed(found)}')
        _warn(request, warn, metadata, spec)

    def _check_template(self, request: Request, labels: dict[str, str]) -> None:
        template: Any = request.object
        for part in TEMPLATES[request.key]:
            template = (template or {}).get(part)
        if not isinstance(template, dict):
            return
        metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
        _warn(request, _warn_level(labels), metadata, spec)

    def _check_namespace(self, request: Request) -> None:
        if request.subresource:
            return
        labels = _labels(request.object)
        problems = list(_label_problems(labels))
        if problems and (request.operation == CREATE or _labels(request.old) != labels):
            raise invalid("", "Namespace", request.shown_name, problems)
        if request.operation != UPDATE:
            return
        before, level = _level(_labels(request.old), "enforce"), _level(labels, "enforce")
        if level == before or level.name == "privileged":
            return
        if before.version == level.version and LEVELS.index(level.name) <= LEVELS.index(
            before.name
        ):
            return
        request.warnings += self._warn_about_pods(request.shown_name, level)

    def _warn_about_pods(self, namespace: str, level: Level) -> list[str]:
        groups: dict[str, list[str]] = {}
        for pod in self._stock.list("", "pods", namespace):
            found = list(violations(level, pod.get("metadata") or {}, pod.get("spec") or {}))
            if found:
                reasons = ", ".join(one.reason for one in found)
                groups.setdefault(reasons, []).append(str(pod["metadata"]["name"]))
        if not groups:
            return []
        lines = []
        for reasons, names in groups.items():
            more = len(names) - 1
            others = f" (and {more} other {'pod' if more == 1 else 'pods'})" if more else ""
            lines.append(f"{names[0]}{others}: {reasons}")
        head = (
            f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce '
            f'level "{level}"'
        )
        return [head, *sorted(lines)]


def violations(level: Level, metadata: Json, spec: Json) -> Iterator[Violation]:
    """What a pod does that a standard forbids."""
    checks = {"baseline": BASELINE, "restricted": RESTRICTED}.get(level.name, ())
    for check in checks:
        found = check(metadata, spec)
        if found is not None:
            yield found


def _detailed(found: list[Violation]) -> str:
    return ", ".join(f"{one.reason} ({one.detail})" for one in found)


def _warn(request: Request, level: Level, metadata: Json, spec: Json) -> None:
    found = list(violations(level, metadata, spec))
    if found:
        request.warnings.append(f'would violate PodSecurity "{level}": {_detailed(found)}')


def _is_significant(request: Request) -> bool:
    """Only changes of what the standards look at are checked again."""
    before, after = (request.old or {}).get("spec") or {}, (request.object or {}).get("spec") or {}
    return before != after


def _labels(obj: Json | None) -> dict[str, str]:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}


def _level(labels: dict[str, str], mode: str) -> Level:
    name = labels.get(PREFIX + mode, "privileged")
    version = labels.get(f"{PREFIX}{mode}-version", "latest")
    return Level(name if name in LEVELS else "restricted", version)


def _warn_level(labels: dict[str, str]) -> Level:
    """What is enforced is also warned about, unless the namespace says what to warn about."""
    if PREFIX + "warn" in labels or PREFIX + "enforce" not in labels:
        return _level(labels, "warn")
    return _level(labels, "enforce")


def _label_problems(labels: dict[str, str]) -> Iterator[FieldError]:
    for mode in MODES:
        key = PREFIX + mode
        if key in labels and labels[key] not in LEVELS:
            yield FieldError(
                INVALID,
                f"metadata.labels[{key}]",
                labels[key],
                f"must be one of {', '.join(LEVELS)}",
            )
        key = f"{PREFIX}{mode}-version"
        version = labels.get(key, "latest")
        if version != "latest" and not VERSION.fullmatch(version):
            yield FieldError(
                INVALID,
                f"metadata.labels[{key}]",
                version,
                'must be "latest" or "v1.x"',
            )
