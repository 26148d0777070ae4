"""What may be asked of the training engine: read, checked, refused with a cure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labapps.queue.job import Limits, parse_memory
from labapps.web.asgi import Problem

__all__ = ["EXAMPLE", "read_submission"]

KEYS = {"code", "name", "user", "resources", "env", "args", "rerun"}
EXAMPLE = {
    "code": "print('hello')",
    "name": "smoke",
    "user": "student1",
    "resources": {"memory": "512Mi", "cpu": 1, "seconds": 600},
    "env": {"SEED": "0"},
    "rerun": False,
}


def read_submission(document: Mapping[str, Any], limits: Limits, user: str) -> dict[str, Any]:
    """Check a submission; return the fields of its job. A Problem says what was expected."""
    unknown = sorted(set(document) - KEYS)
    if unknown:
        raise _problem(f"Unknown keys: {', '.join(unknown)}.", f"some of {', '.join(sorted(KEYS))}")
    code = document.get("code")
    if not isinstance(code, str) or not code.strip():
        raise _problem("The key code holds no text.", "the source of a Python program")
    if len(code.encode()) > limits.code:
        raise Problem(413, f"The code is longer than {limits.code} bytes.", expected="less code")
    resources = document.get("resources") or {}
    if not isinstance(resources, dict) or set(resources) - {"memory", "cpu", "seconds"}:
        raise _problem("resources is not understood.", {"memory": "512Mi", "cpu": 1, "seconds": 60})
    try:
        memory = parse_memory(resources.get("memory", limits.default_memory))
        cpu = float(resources.get("cpu", 1))
        seconds = float(resources.get("seconds", limits.seconds))
    except (TypeError, ValueError) as error:
        raise _problem(f"resources: {error}.", EXAMPLE["resources"]) from error
    for what, value, most in (
        ("memory", memory, limits.memory),
        ("cpu", cpu, limits.cpu),
        ("seconds", seconds, limits.seconds),
    ):
        if not 0 < value <= most:
            raise _problem(f"resources: {what} is {value:g}.", f"more than 0, at most {most:g}")
    env, args = document.get("env") or {}, document.get("args") or []
    if not isinstance(env, dict) or not all(isinstance(v, str | int | float) for v in env.values()):
        raise _problem("env is not an object of texts.", {"SEED": "0"})
    if not isinstance(args, list):
        raise _problem("args is not a list.", ["--depth", "2"])
    rerun = document.get("rerun", False)
    if not isinstance(rerun, bool):
        raise _problem("rerun is neither true nor false.", "true: start again if a worker is lost")
    return {
        "user": user or str(document.get("user") or "anonymous")[:100],
        "name": str(document.get("name") or "job")[:100],
        "code": code,
        "memory": memory,
        "cpu": cpu,
        "seconds": seconds,
        "env": {str(k): str(v) for k, v in env.items()},
        "args": [str(a) for a in args],
        "rerun": rerun,
    }


def _problem(text: str, expected: Any) -> Problem:
    return Problem(422, f"The job was not accepted. {text}", expected=expected, example=EXAMPLE)
