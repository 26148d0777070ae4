"""CEL in admission: match conditions of webhooks and policies, and what expressions may see."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.request import Request

if TYPE_CHECKING:
    from labsandbox.apiserver.cel import Program

Json = dict[str, Any]


class ConditionFailed(Exception):
    """A condition could not be evaluated."""


@lru_cache(maxsize=512)
def program(text: str) -> Program:
    """Compile an expression once."""
    from labsandbox.apiserver.cel import compile

    return compile(text)


def evaluate(text: str, names: Json) -> Any:
    """Evaluate an expression; ConditionFailed when it cannot be."""
    from labsandbox.apiserver.cel import CelError

    try:
        return program(text).evaluate(names)
    except CelError as error:
        raise ConditionFailed(str(error)) from error


def meets_conditions(conditions: list[Json], request: Request, stock: Collections) -> bool:
    """Tell whether all match conditions hold; one that is false outweighs one that fails."""
    if not conditions:
        return True
    names = visible(request, stock)
    failed = []
    for one in conditions:
        try:
            if not evaluate(str(one.get("expression")), names):
                return False
        except ConditionFailed as error:
            failed.append(f"expression '{one.get('expression')}' resulted in error: {error}")
    if failed:
        raise ConditionFailed(", ".join(failed))
    return True


def visible(request: Request, stock: Collections) -> Json:
    """The names an expression may use."""
    group, version, kind = request.kind
    resource = request.resource
    space = stock.find("", "namespaces", request.namespace) if request.namespace else None
    return {
        "object": request.object,
        "oldObject": request.old,
        "request": {
            "kind": {"group": group, "version": version, "kind": kind},
            "resource": {
                "group": resource.group,
                "version": resource.version,
                "resource": resource.plural,
            },
            "subResource": request.subresource,
            "requestKind": {"group": group, "version": version, "kind": kind},
            "name": request.shown_name,
            "namespace": request.namespace,
            "operation": request.operation,
            "userInfo": {"username": "", "groups": [], **request.user.info()},
            "dryRun": request.dry_run,
            "options": request.review_options(),
        },
        "namespaceObject": _shown_namespace(space),
        "params": None,
        "variables": {},
    }


def _shown_namespace(space: Json | None) -> Json | None:
    if space is None:
        return None
    return {"apiVersion": "v1", "kind": "Namespace", **space}
