"""Reviews: may I, may they, who am I, whose token is this. Answered, never stored."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver import work
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.rbac import Attributes, Decision
from labsandbox.apiserver.auth.token import ISSUER
from labsandbox.apiserver.auth.user import MASTERS, User
from labsandbox.apiserver.http.media import accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, bad_request, invalid
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.create import check_address
from labsandbox.apiserver.verbs.manage import track
from labsandbox.apiserver.verbs.objects import now
from labsandbox.apiserver.verbs.options import Problem, write_options
from labsandbox.apiserver.verbs.read import respond_object

Json = dict[str, Any]
_RESOURCE_RULE = ("verbs", "apiGroups", "resources", "resourceNames")
_PATH_RULE = ("verbs", "nonResourceURLs")
REVIEW_GROUPS = ("authorization.k8s.io", "authentication.k8s.io")


async def review(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Answer a review with its status filled in."""
    accepted = accept(request.headers.get("accept", ""))
    options = write_options(request, "CreateOptions")
    obj = await read_object(request, resource, shape_of(resource), options.validation)
    if resource.namespaced:
        check_address(obj, resource, request.namespace)
    obj["metadata"] = {**(obj.get("metadata") or {})}
    obj["metadata"].setdefault("creationTimestamp", None)
    if resource.plural not in ("selfsubjectrulesreviews", "selfsubjectreviews"):
        # the others are answered anew
        obj = await work.run(track, resource, None, obj, options.manager)
    answers = {
        "selfsubjectaccessreviews": _self_access,
        "subjectaccessreviews": _access,
        "localsubjectaccessreviews": _access,
        "selfsubjectrulesreviews": _rules,
        "selfsubjectreviews": _whoami,
    }
    found = answers.get(resource.plural)
    if found is not None:
        found(api, request, obj)
    else:
        await _token(api, obj)
    return respond_object(api, request, resource, obj, accepted, 201)


def _attributes(spec: Json) -> Attributes:
    what = spec.get("resourceAttributes")
    where = spec.get("nonResourceAttributes")
    if (what is None) == (where is None):
        raise _invalid_spec(
            "spec.resourceAttributes",
            'Invalid value: "null": exactly one of nonResourceAttributes or resourceAttributes '
            "must be specified"
            if what is None
            else "cannot be specified in combination with nonResourceAttributes",
        )
    if where is not None:
        return Attributes(where.get("verb") or "", path=where.get("path") or "")
    assert what is not None
    return Attributes(
        what.get("verb") or "",
        what.get("group") or "",
        what.get("resource") or "",
        what.get("subresource") or "",
        what.get("namespace") or "",
        what.get("name") or "",
        version=what.get("version") or "",
    )


def _invalid_spec(field: str, message: str) -> StatusError:
    reason = "FieldValueInvalid" if message.startswith("Invalid value") else "FieldValueRequired"
    error = invalid("authorization.k8s.io", "", "", [Problem(field, reason, message)])
    assert error.details is not None
    error.details.pop("kind", None)
    return error


def _decide(api: Api, user: User, spec: Json) -> Json:
    attributes = _attributes(spec)
    decision: Decision = api.rbac.authorize(user, attributes)
    status: Json = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    return status


def _self_access(api: Api, request: Request, obj: Json) -> None:
    obj.setdefault("spec", {})
    obj["status"] = _decide(api, request.user, obj["spec"] or {})


def _access(api: Api, request: Request, obj: Json) -> None:
    spec = obj.setdefault("spec", {}) or {}
    groups = spec.get("groups") or spec.get("group") or []
    if not spec.get("user") and not groups:
        raise _invalid_spec(
            "spec.user", 'Invalid value: "": at least one of user or group must be specified'
        )
    if request.namespace:
        given = (spec.get("resourceAttributes") or {}).get("namespace") or ""
        if given != request.namespace:
            raise bad_request(
                "spec.resourceAttributes.namespace must match namespace: " + request.namespace
            )
    user = User(
        spec.get("user") or "", tuple(groups), spec.get("uid") or "", spec.get("extra") or {}
    )
    obj["status"] = _decide(api, user, spec)


def _rules(api: Api, request: Request, obj: Json) -> None:
    spec = obj.get("spec") or {}
    namespace = spec.get("namespace") or ""
    if not namespace:
        raise bad_request("no namespace on request")
    rules, missing = api.rbac.rules(request.user, namespace)
    if MASTERS in request.user.groups:
        rules = [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
            *rules,
        ]
    resources, paths = [], []
    for rule in rules:
        if rule.get("resources"):
            resources.append({key: rule[key] for key in _RESOURCE_RULE if rule.get(key)})
        if rule.get("nonResourceURLs"):
            paths.append({key: rule[key] for key in _PATH_RULE if rule.get(key)})
    status: Json = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
    if missing:
        status["evaluationError"] = ", ".join(missing)
    obj["spec"] = {}
    obj["status"] = status


def _whoami(api: Api, request: Request, obj: Json) -> None:
    obj["metadata"]["creationTimestamp"] = now()
    obj["status"] = {"userInfo": request.user.info()}


async def _token(api: Api, obj: Json) -> None:
    spec = obj.get("spec") or {}
    token = spec.get("token") or ""
    if not token:
        raise bad_request("token is required for TokenReview in authentication")
    audiences = spec.get("audiences") or None
    user, error = await api.authenticator.review(token, audiences)
    if user is None:
        obj["status"] = {"user": {}, "error": error}
        return
    obj["status"] = {
        "authenticated": True,
        "user": user.info(),
        "audiences": list(audiences or [ISSUER]),
    }
