"""The operations of a resource, path by path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from labsandbox.apiserver.openapi.schemas import V2, V3, kind_name
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.registry.resource import Subresource
from labsandbox.apiserver.schema import definitions
from labsandbox.apiserver.schema.definitions import META

Json = dict[str, Any]
_JSON, _YAML = "application/json", "application/yaml"
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_METHODS = {"get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch",
            "delete": "delete", "deletecollection": "delete"}  # fmt: skip
_ACTIONS = {"create": "post", "update": "put"}
_WORDS = {"get": "read", "list": "list", "create": "create", "update": "replace",
          "patch": "patch", "delete": "delete", "deletecollection": "deletecollection"}  # fmt: skip
_SAID = {"get": "read the specified", "list": "list or watch objects of kind",
         "create": "create", "update": "replace the specified",
         "patch": "partially update the specified", "delete": "delete",
         "deletecollection": "delete collection of"}  # fmt: skip
_STRINGS = {
    "dryRun": "When present, indicates that modifications should not be persisted.",
    "fieldManager": "fieldManager is a name associated with the actor that is making changes.",
    "fieldValidation": "fieldValidation instructs the server on how to handle objects in the "
    "request containing unknown or duplicate fields.",
    "labelSelector": "A selector to restrict the list of returned objects by their labels.",
    "fieldSelector": "A selector to restrict the list of returned objects by their fields.",
    "continue": "The continue option should be set when retrieving more results.",
    "resourceVersion": "resourceVersion sets a constraint on what versions may be served from.",
    "resourceVersionMatch": "resourceVersionMatch determines how resourceVersion is applied.",
    "propagationPolicy": "Whether and how garbage collection will be performed.",
    "pretty": "If 'true', then the output is pretty printed.",
}
_NUMBERS = {
    "limit": "limit is a maximum number of responses to return for a list call.",
    "timeoutSeconds": "Timeout for the list/watch call.",
    "gracePeriodSeconds": "The duration in seconds before the object should be deleted.",
}
_FLAGS = {
    "watch": "Watch for changes to the described resources.",
    "allowWatchBookmarks": "allowWatchBookmarks requests watch events with type BOOKMARK.",
    "force": "Force is going to force Apply requests.",
    "orphanDependents": "Deprecated: please use the PropagationPolicy.",
}
_LIST = ("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit",
         "resourceVersion", "resourceVersionMatch", "timeoutSeconds", "watch")  # fmt: skip
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_PARAMETERS = {
    "get": (), "list": _LIST, "create": _WRITE, "update": _WRITE, "patch": (*_WRITE, "force"),
    "delete": _DELETE, "deletecollection": (*_LIST[1:7], *_DELETE),
}  # fmt: skip


def _parameter(name: str, prefix: str, where: str = "query") -> Json:
    kind = "integer" if name in _NUMBERS else "boolean" if name in _FLAGS else "string"
    text = _STRINGS.get(name) or _NUMBERS.get(name) or _FLAGS.get(name) or f"{name} of the object"
    out: Json = {"name": name, "in": where, "description": text}
    if where == "path":
        out["required"] = True
    if prefix == V3:
        out["schema"] = {"type": kind, "uniqueItems": True}
    else:
        out.update({"type": kind, "uniqueItems": True})
    return out


def _content(target: str, media: tuple[str, ...]) -> Json:
    return {one: {"schema": {"$ref": target}} for one in media}


class _Builder:
    def __init__(self, resource: ResourceDef, prefix: str) -> None:
        self.resource = resource
        self.prefix = prefix
        self.answers = (_JSON, _YAML) if resource.custom is not None else (_JSON, _PROTOBUF, _YAML)

    def schema(self, verb: str, sub: Subresource | None) -> str:
        if verb == "list":
            return kind_name(self.resource, self.resource.kind_of_list)
        if verb in ("delete", "deletecollection"):
            return META + "Status"
        if sub is not None and sub.version:
            return definitions.kinds().get((sub.group, sub.version, sub.kind), "")
        if sub is not None and sub.kind != self.resource.kind:
            key = (self.resource.group, self.resource.version, sub.kind)
            return definitions.kinds().get(key, "")
        return kind_name(self.resource)

    def operation(self, verb: str, sub: Subresource | None, *, namespaced: bool) -> Json:
        resource = self.resource
        name = self.schema(verb, sub)
        tag = f"{(resource.group.split('.')[0] or 'core')}_{resource.version}"
        camel = "".join(part.capitalize() for part in tag.split("_"))
        scope = "Namespaced" if namespaced else ""
        suffix = sub.name.capitalize() if sub is not None else ""
        if resource.namespaced and not namespaced:
            suffix += "ForAllNamespaces"
        group_kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        below = f"{sub.name} of " if sub is not None else ""
        said = f"{_SAID[verb]} {resource.kind}"
        if below:
            said = said.replace("the specified", f"{below}the specified")
        out: Json = {
            "tags": [tag],
            "description": said,
            "operationId": f"{_WORDS[verb]}{camel}{scope}{resource.kind}{suffix}",
            "responses": self._responses(verb, name),
            "x-kubernetes-action": _ACTIONS.get(verb, verb),
            "x-kubernetes-group-version-kind": group_kind,
        }
        parameters = [_parameter(one, self.prefix) for one in _PARAMETERS[verb]]
        self._add_body(out, verb, name, parameters)
        if parameters:
            out["parameters"] = parameters
        return out

    def _responses(self, verb: str, name: str) -> Json:
        target = f"{self.prefix}{name}"
        codes = {"200": "OK"}
        if verb in ("create", "update", "patch"):
            codes["201"] = "Created"
        if verb == "delete":
            codes["202"] = "Accepted"
        found: Json = {}
        for code, text in codes.items():
            one: Json = {"description": text}
            if name and self.prefix == V3:
                one["content"] = _content(target, self.answers)
            elif name:
                one["schema"] = {"$ref": target}
            found[code] = one
        found["401"] = {"description": "Unauthorized"}
        return found

    def _add_body(self, out: Json, verb: str, name: str, parameters: list[Json]) -> None:
        if verb not in ("create", "update", "patch") or not name:
            return
        target = f"{self.prefix}{META}Patch" if verb == "patch" else f"{self.prefix}{name}"
        media: tuple[str, ...] = ("*/*",)
        if verb == "patch":
            media = _PATCHES[:3] if self.resource.custom is not None else _PATCHES
        if self.prefix == V3:
            out["requestBody"] = {"content": _content(target, media), "required": True}
            return
        parameters.append({"name": "body", "in": "body", "required": True,
                           "schema": {"$ref": target}})  # fmt: skip
        out["consumes"] = list(media)
        out["produces"] = list(self.answers)


def resource_paths(resource: ResourceDef, prefix: str) -> Iterator[tuple[str, Json]]:
    """Every path of a resource with its operations."""
    builder = _Builder(resource, prefix)
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else "/api/v1"
    scoped = f"{base}/namespaces/{{namespace}}" if resource.namespaced else base
    shared = [_parameter("pretty", prefix)]
    if resource.namespaced:
        shared = [_parameter("namespace", prefix, "path"), *shared]
    named = [_parameter("name", prefix, "path"), *shared]
    collection = [verb for verb in ("list", "create", "deletecollection") if verb in resource.verbs]
    yield from _item(f"{scoped}/{resource.plural}", builder, collection, None, shared)
    single = [verb for verb in ("get", "update", "patch", "delete") if verb in resource.verbs]
    path = f"{scoped}/{resource.plural}/{{name}}"
    yield from _item(path, builder, single, None, named)
    for sub in resource.subresources.values():
        verbs = [verb for verb in ("get", "create", "update", "patch") if verb in sub.verbs]
        yield from _item(f"{path}/{sub.name}", builder, verbs, sub, named)
    if resource.namespaced and "list" in resource.verbs:
        plain = [_parameter("pretty", prefix)]
        yield from _item(f"{base}/{resource.plural}", builder, ["list"], None, plain, False)


def _item(
    path: str,
    builder: _Builder,
    verbs: Sequence[str],
    sub: Subresource | None,
    shared: list[Json],
    namespaced: bool | None = None,
) -> Iterator[tuple[str, Json]]:
    if not verbs:
        return
    scoped = builder.resource.namespaced if namespaced is None else namespaced
    item: Json = {_METHODS[verb]: builder.operation(verb, sub, namespaced=scoped) for verb in verbs}
    item["parameters"] = shared
    yield path, item


__all__ = ["V2", "V3", "resource_paths"]
