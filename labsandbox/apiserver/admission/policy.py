"""ValidatingAdmissionPolicy: rules in CEL, put into force by bindings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.conditions import (
    ConditionFailed,
    evaluate,
    meets_conditions,
    visible,
)
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.request import Request
from labsandbox.apiserver.admission.rules import GROUP, find_version, is_exempt, is_selected
from labsandbox.apiserver.admission.selector import selects
from labsandbox.apiserver.status import StatusError

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api

Json = dict[str, Any]
CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
NO_PARAMS = "no params found for policy binding with `Deny` parameterNotFoundAction"


class Denial(NamedTuple):
    """Why a binding refuses, and the reason code it asks for."""

    message: str
    reason: str


class Policies(Quiet):
    """Evaluates the policies whose bindings choose the request."""

    keys = None

    def __init__(self, api: Api, stock: Collections) -> None:
        self._api = api
        self._stock = stock

    async def validate(self, request: Request) -> None:
        bindings = self._stock.list(GROUP, "validatingadmissionpolicybindings")
        if not bindings or is_exempt(request):
            return
        denials: list[Denial] = []
        for policy in self._stock.list(GROUP, "validatingadmissionpolicies"):
            name = policy["metadata"]["name"]
            spec = policy.get("spec") or {}
            if not self._is_chosen(spec.get("matchConstraints") or {}, request, is_policy=True):
                continue
            for binding in bindings:
                own = binding.get("spec") or {}
                if own.get("policyName") != name:
                    continue
                if not self._is_chosen(own.get("matchResources") or {}, request):
                    continue
                start = (
                    f"ValidatingAdmissionPolicy '{name}' with binding "
                    f"'{binding['metadata']['name']}'"
                )
                denials += self._enforce(request, spec, own, start)
        if denials:
            raise _refusal(request, denials[0])

    def _is_chosen(self, match: Json, request: Request, *, is_policy: bool = False) -> bool:
        if not is_selected(match, request, self._stock):
            return False
        is_exact = match.get("matchPolicy") == "Exact"
        excluded = match.get("excludeResourceRules") or []
        if excluded and find_version(excluded, request, self._api, is_exact=is_exact):
            return False
        rules = match.get("resourceRules") or []
        if not rules:
            return not is_policy
        return find_version(rules, request, self._api, is_exact=is_exact) is not None

    def _enforce(self, request: Request, spec: Json, own: Json, start: str) -> Iterator[Denial]:
        actions = own.get("validationActions") or ["Deny"]
        for found in self._evaluate(request, spec, own):
            if "Warn" in actions:
                request.warnings.append(f"Validation failed for {start}: {found.message}")
            if "Deny" in actions:
                yield Denial(f"{start} denied request: {found.message}", found.reason)

    def _evaluate(self, request: Request, spec: Json, own: Json) -> Iterator[Denial]:
        is_ignorable = spec.get("failurePolicy") == "Ignore"
        try:
            if not meets_conditions(spec.get("matchConditions") or [], request, self._stock):
                return
            for params in self._params(request, spec, own):
                names = visible(request, self._stock) | {"params": params}
                names["variables"] = _variables(spec, names)
                for one in spec.get("validations") or ():
                    yield from _validation(one, names, is_ignorable=is_ignorable)
        except ConditionFailed as error:
            if not is_ignorable:
                yield Denial(str(error), "")

    def _params(self, request: Request, spec: Json, own: Json) -> Iterator[Json | None]:
        kind, reference = spec.get("paramKind"), own.get("paramRef")
        if not kind or not reference:
            yield None
            return
        found = list(self._find_params(request, kind, reference))
        if not found and reference.get("parameterNotFoundAction") == "Deny":
            raise ConditionFailed(NO_PARAMS)
        yield from found

    def _find_params(self, request: Request, kind: Json, reference: Json) -> Iterator[Json]:
        group, _, version = str(kind.get("apiVersion", "")).rpartition("/")
        for resource in self._api.catalog:
            if (resource.group, resource.version) != (group, version):
                continue
            if resource.kind != kind.get("kind"):
                continue
            space = reference.get("namespace") or request.namespace if resource.namespaced else ""
            for one in self._stock.list(group, resource.plural, space):
                is_named = one["metadata"]["name"] == reference.get("name")
                selector = reference.get("selector")
                labels = one["metadata"].get("labels") or {}
                if is_named or (selector is not None and selects(selector, labels)):
                    yield {"apiVersion": resource.api_version, "kind": resource.kind, **one}
            return


def _variables(spec: Json, names: Json) -> Json:
    found: Json = {}
    for one in spec.get("variables") or ():
        found[one["name"]] = evaluate(one["expression"], names | {"variables": found})
    return found


def _validation(one: Json, names: Json, *, is_ignorable: bool) -> Iterator[Denial]:
    text = str(one.get("expression", "")).strip()
    reason = str(one.get("reason") or "")
    try:
        if evaluate(text, names) is True:
            return
    except ConditionFailed as error:
        if not is_ignorable:
            yield Denial(f"expression '{text}' resulted in error: {error}", reason)
        return
    message = str(one.get("message") or "").strip()
    if one.get("messageExpression"):
        try:
            composed = evaluate(str(one["messageExpression"]), names)
            message = str(composed).strip() or message
        except ConditionFailed:
            pass
    yield Denial(message or f"failed expression: {text}", reason)


def _refusal(request: Request, denial: Denial) -> StatusError:
    error = request.refuse(denial.message)
    reason = denial.reason or "Invalid"
    causes = [{"message": denial.message}]
    return StatusError(CODES.get(reason, 422), reason, error.message, error.details, causes)
