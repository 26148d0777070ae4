"""serviceaccounts/token: make a token that lives as long as the account and what it is bound to."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.token import ISSUER
from labsandbox.apiserver.http.media import accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.patch import track_update
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import bad_request, conflict, invalid, not_found
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.objects import full_object, now
from labsandbox.apiserver.verbs.options import Problem, write_options
from labsandbox.apiserver.verbs.read import respond_object

Json = dict[str, Any]
_DEFAULT, _SHORTEST, _LONGEST = 3600, 600, 2**32
_BOUND = {"Node": "nodes", "Pod": "pods", "Secret": "secrets"}
_GROUP = "authentication.k8s.io"


async def request_token(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Issue a token for the service account of the path."""
    accepted = accept(request.headers.get("accept", ""))
    options = write_options(request, "CreateOptions")
    obj = await read_object(
        request, resource, shape_of(resource, "token"), options.validation,
        kind="TokenRequest", group=_GROUP, version="v1",
    )  # fmt: skip
    record = api.store.get(resource.bucket, request.namespace, request.name)
    if record is None:
        raise not_found(resource, request.name)
    account = full_object(resource, record)
    spec = obj.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    seconds = _DEFAULT if seconds is None else seconds
    _check_address(obj.get("metadata") or {}, request)
    _check_seconds(seconds)
    bound, node = _bound(api, request, spec.get("boundObjectRef"), account)
    audiences = list(spec.get("audiences") or [ISSUER])
    token, expires = api.tokens.issue(account, audiences, seconds, bound, node)
    metadata = {
        "name": request.name,
        "namespace": request.namespace,
        "creationTimestamp": now(),
    }
    managers = _managers(resource, obj, seconds, options.manager)
    if managers:
        metadata["managedFields"] = managers
    answer = {
        "kind": "TokenRequest",
        "apiVersion": f"{_GROUP}/v1",
        "metadata": metadata,
        "spec": {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": spec.get("boundObjectRef"),
        },
        "status": {
            "token": token,
            "expirationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)),
        },
    }
    return respond_object(api, request, resource, answer, accepted, 201)


def _check_address(metadata: Json, request: Request) -> None:
    """Name and namespace may be left out, but not be others than those of the account."""
    for field, expected in (("name", request.name), ("namespace", request.namespace)):
        given = metadata.get(field) or ""
        if given and given != expected:
            what = f"must match the service account {field} if specified"
            message = f'Invalid value: "{given}": {what}'
            problem = Problem(f"metadata.{field}", "FieldValueInvalid", message)
            raise invalid(_GROUP, "TokenRequest", request.name, [problem])


def _managers(resource: ResourceDef, obj: Json, seconds: int, manager: str) -> Any:
    """Who asked for the token, as managedFields say it."""
    spec = {**(obj.get("spec") or {}), "expirationSeconds": seconds}
    asked: Json = {**obj, "metadata": {}, "spec": spec}
    node = shape_of(resource, "token").node
    version = f"{_GROUP}/v1"
    found = track_update(None, asked, manager, "Update", version, now(), node, "token")
    return found["metadata"].get("managedFields")


def _check_seconds(seconds: int) -> None:
    why = ""
    if seconds < _SHORTEST:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > _LONGEST:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        problem = Problem(
            "spec.expirationSeconds", "FieldValueInvalid", f"Invalid value: {seconds}: {why}"
        )
        raise invalid(_GROUP, "TokenRequest", "", [problem])


def _bound(
    api: Api, request: Request, reference: Json | None, account: Json
) -> tuple[Json | None, Json | None]:
    """The live object the token is bound to and, for a pod, the node it runs on."""
    if not reference:
        return None, None
    kind, name = reference.get("kind", ""), reference.get("name", "")
    group, _, version = (reference.get("apiVersion") or "").rpartition("/")
    plural = _BOUND.get(kind)
    if plural is None or group:
        raise bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
    target = api.resource("", plural)
    obj = api.find("", plural, name, request.namespace if target.namespaced else "")
    if obj is None:
        raise not_found(target, name)
    uid = obj["metadata"]["uid"]
    if reference.get("uid") and reference["uid"] != uid:
        raise conflict(
            replace(target, plural=kind),
            name,
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID "
            f"in record. The object might have been deleted and then recreated",
        )
    node = None
    if kind == "Pod":
        spec = obj.get("spec") or {}
        if spec.get("serviceAccountName") != account["metadata"]["name"]:
            raise bad_request(
                f'cannot bind token for serviceaccount "{request.name}" to pod running with '
                "different serviceaccount name."
            )
        found = api.find("", "nodes", spec.get("nodeName") or "") if spec.get("nodeName") else None
        if found is not None:
            node = {"name": found["metadata"]["name"], "uid": found["metadata"]["uid"]}
    return {"kind": kind, "name": name, "uid": uid}, node
