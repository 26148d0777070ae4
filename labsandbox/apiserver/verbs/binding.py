"""pods/binding: the scheduler's decision, written into the pod."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import (
    StatusError,
    bad_request,
    conflict,
    not_found,
    server_error,
    success,
)
from labsandbox.apiserver.store import Stale
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.objects import full_object, now
from labsandbox.apiserver.verbs.options import Problem, write_options
from labsandbox.apiserver.verbs.read import respond_object

Json = dict[str, Any]


async def bind(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Assign the pod to the node the body names."""
    accepted = accept(request.headers.get("accept", ""))
    options = write_options(request, "CreateOptions")
    direct = resource.plural == "bindings"
    shape = shape_of(resource) if direct else shape_of(resource, "binding")
    binding = await read_object(
        request, resource, shape, options.validation, kind="Binding", group="", version="v1"
    )
    pods = api.resource("", "pods")
    metadata = binding.get("metadata") or {}
    name = request.name or metadata.get("name") or ""
    if request.name and metadata.get("name") and metadata["name"] != request.name:
        raise bad_request("name in URL does not match name in Binding object")
    target = binding.get("target") or {}
    _check_target(target)
    for _ in range(50):
        record = api.store.latest(pods.bucket, request.namespace, name)
        if record is None:
            raise not_found(pods, name)
        pod = full_object(pods, record)
        _check_pod(pods, pod, metadata, target)
        _assign(pod, target["name"], metadata)
        if options.dry_run:
            break
        try:
            await api.store.write(pods.bucket, request.namespace, name, pod, record)
        except Stale:
            continue
        break
    return respond_object(api, request, resource, {**success(), "code": 201}, accepted, 201)


def _check_target(target: Json) -> None:
    problems = []
    kind = target.get("kind") or ""
    if kind not in ("", "Node"):
        problems.append(
            Problem(
                "target.kind",
                "FieldValueNotSupported",
                f'Unsupported value: "{kind}": supported values: "Node", "<empty>"',
            )
        )
    if not target.get("name"):
        problems.append(Problem("target.name", "FieldValueRequired", "Required value"))
    if problems:
        # The real server returns these bare, so they end as an internal failure.
        shown = [f"{problem.field}: {problem.message}" for problem in problems]
        raise server_error(shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]")


def _check_pod(pods: ResourceDef, pod: Json, metadata: Json, target: Json) -> None:
    name = pod["metadata"]["name"]
    uid = metadata.get("uid")
    if uid and uid != pod["metadata"]["uid"]:
        raise conflict(
            pods,
            name,
            f"Precondition failed: UID in precondition: {uid}, "
            f"UID in object meta: {pod['metadata']['uid']}",
        )
    if pod["metadata"].get("deletionTimestamp"):
        raise _conflict(name, f"pod {name} is being deleted, cannot be assigned to a host")
    node = (pod.get("spec") or {}).get("nodeName")
    if node:
        raise _conflict(name, f'pod {name} is already assigned to node "{node}"')
    if (pod.get("spec") or {}).get("schedulingGates"):
        raise _conflict(name, f"pod {name} has non-empty .spec.schedulingGates")


def _conflict(name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
    return StatusError(409, "Conflict", message, {"name": name, "kind": "pods/binding"})


def _assign(pod: Json, node: str, metadata: Json) -> None:
    pod["spec"]["nodeName"] = node
    annotations = metadata.get("annotations")
    if annotations:
        known = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**known, **annotations}
    status = pod.setdefault("status", {})
    conditions = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
    conditions.append(
        {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": now(),
        }
    )
    status["conditions"] = conditions
