"""The policies of a Job: which failures matter, and when enough indexes have succeeded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labsandbox.controllers import indexes, objects

Object = dict[str, Any]


@dataclass(frozen=True)
class Match:
    """What a Job's failure policy says about a pod that failed."""

    action: str  # FailJob, FailIndex, Ignore or Count
    message: str


def judge(job: Object, pod: Object) -> Match | None:
    """Return what the first rule that matches a failed pod says."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or []
    place = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for index, rule in enumerate(rules):
        end = f"matching {rule['action']} rule at index {index}"
        codes = rule.get("onExitCodes")
        if codes:
            for name, code in _exit_codes(pod):
                if _has_code(codes, name, code):
                    text = f"Container {name} for pod {place} failed with exit code {code} {end}"
                    return Match(rule["action"], text)
        for pattern in rule.get("onPodConditions") or []:
            found = objects.condition(pod, pattern["type"])
            if found is not None and found["status"] == pattern.get("status", "True"):
                return Match(rule["action"], f"Pod {place} has condition {pattern['type']} {end}")
    return None


def _exit_codes(pod: Object) -> Iterable[tuple[str, int]]:
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(field) or []:
            ended = (container.get("state") or {}).get("terminated")
            if ended and ended.get("exitCode"):
                yield container["name"], ended["exitCode"]


def _has_code(codes: Object, name: str, code: int) -> bool:
    if codes.get("containerName") not in (None, name):
        return False
    return bool((code in codes["values"]) == (codes["operator"] == "In"))


def has_succeeded(job: Object, done: set[int]) -> str | None:
    """Return which rule of the success policy the completed indexes meet, in words."""
    for number, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or []):
        wanted = rule.get("succeededIndexes")
        met = done & indexes.read(wanted) if wanted else done
        least = rule.get("succeededCount")
        if least is None:
            least = len(indexes.read(wanted))
        if len(met) >= least:
            return f"Matched rules at index {number}"
    return None


def failed_indexes(job: Object, pods: Iterable[Object], done: set[int]) -> set[int]:
    """Return the indexes that have failed for good."""
    limit = job["spec"].get("backoffLimitPerIndex")
    failed = indexes.read((job.get("status") or {}).get("failedIndexes"))
    if limit is None:
        return failed
    failures: dict[int, int] = {}
    for pod in pods:
        if objects.phase(pod) != "Failed":
            continue
        match, index = judge(job, pod), indexes.of(pod)
        if match and match.action == "FailIndex":
            failed.add(index)
        elif not match or match.action != "Ignore":
            failures[index] = failures.get(index, 0) + 1
    failed |= {index for index, count in failures.items() if count > limit}
    return failed - done
