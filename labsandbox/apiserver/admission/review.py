"""AdmissionReview: the question to a webhook, and the checks of its answer."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.admission.request import Request

if TYPE_CHECKING:
    from labsandbox.apiserver.registry import ResourceDef

Json = dict[str, Any]
API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"


class BadAnswer(Exception):
    """The webhook answered something that is no AdmissionReview for this request."""


@dataclass(frozen=True)
class Verdict:
    """What a webhook decided."""

    is_allowed: bool
    status: Json
    patch: list[Json] | None
    warnings: list[str]


def ask(request: Request, version: ResourceDef) -> Json:
    """The AdmissionReview to send, with the objects in the version the webhook knows."""
    group, own_version, kind = request.kind
    is_other = version.version != request.resource.version
    shown = version.version if is_other else own_version
    question: Json = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": group, "version": shown, "kind": kind},
        "resource": _resource(version),
    }
    if request.subresource:
        question["subResource"] = request.subresource
    question["requestKind"] = {"group": group, "version": own_version, "kind": kind}
    question["requestResource"] = _resource(request.resource)
    if request.subresource:
        question["requestSubResource"] = request.subresource
    name = request.name or ((request.object or {}).get("metadata") or {}).get("name")
    if name:
        question["name"] = name
    if request.namespace:
        question["namespace"] = request.namespace
    question |= {
        "operation": request.operation,
        "userInfo": request.user.info(),
        "object": _object(request.object, version, is_other),
        "oldObject": _object(request.old, version, is_other),
        "dryRun": request.dry_run,
        "options": request.review_options(),
    }
    return {"kind": KIND, "apiVersion": API_VERSION, "request": question}


def _resource(resource: ResourceDef) -> Json:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def _object(obj: Json | None, version: ResourceDef, is_other: bool) -> Json | None:
    if obj is None:
        return None
    shown = copy.copy(obj)
    if is_other:
        shown["apiVersion"] = version.api_version
    metadata = shown.get("metadata")
    if isinstance(metadata, dict) and not metadata.get("creationTimestamp"):
        shown["metadata"] = {**metadata, "creationTimestamp": None}
    return shown


def read(answer: Any, uid: str, *, may_patch: bool) -> Verdict:
    """Check an answer and read the verdict."""
    if not isinstance(answer, dict):
        raise BadAnswer("couldn't get version/kind; json parse error: expected an object")
    kind, api_version = answer.get("kind", ""), answer.get("apiVersion", "")
    if (kind, api_version) != (KIND, API_VERSION):
        raise BadAnswer(
            f"expected webhook response of {API_VERSION}, Kind={KIND}, got {api_version}, "
            f"Kind={kind}"
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise BadAnswer("webhook response was absent")
    if response.get("uid") != uid:
        raise BadAnswer(
            f'expected response.uid="{uid}", got {json.dumps(str(response.get("uid", "")))}'
        )
    is_allowed = response.get("allowed") is True
    warnings = [str(one) for one in response.get("warnings") or ()]
    status = response.get("status") if isinstance(response.get("status"), dict) else {}
    patch = _read_patch(response) if may_patch and is_allowed else None
    return Verdict(is_allowed, status or {}, patch, warnings)


def _read_patch(response: Json) -> list[Json] | None:
    encoded, kind = response.get("patch"), response.get("patchType")
    if not encoded:
        if kind:
            raise BadAnswer("webhook returned response.patchType but not response.patch")
        return None
    if kind is None:
        raise BadAnswer("webhook returned response.patch but not response.patchType")
    if kind != "JSONPatch":
        raise BadAnswer(f"invalid value of patchType: {json.dumps(kind)}")
    try:
        patch = json.loads(base64.b64decode(str(encoded), validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadAnswer(f"error decoding JSON patch: {error}") from error
    if not isinstance(patch, list) or not all(isinstance(one, dict) for one in patch):
        raise BadAnswer("error decoding JSON patch: expected a list of operations")
    return patch
