"""Nobody grants what they do not have: roles and bindings are checked against their author."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.auth.rbac import GROUP, Attributes, Rbac
from labsandbox.apiserver.auth.user import MASTERS, User
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import forbidden, not_found

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api

Json = dict[str, Any]
MAX_COMPARED = 100_000
_ROLES = {"roles", "clusterroles"}
_BINDINGS = {"rolebindings", "clusterrolebindings"}


def _atoms(rule: Json) -> Iterator[Json]:
    """A rule as rules of one verb on one thing each."""
    for verb in rule.get("verbs") or ():
        for url in rule.get("nonResourceURLs") or ():
            yield {"verbs": [verb], "nonResourceURLs": [url]}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                one: Json = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                names = rule.get("resourceNames") or ()
                if not names:
                    yield one
                for name in names:
                    yield {**one, "resourceNames": [name]}


def _covers(owned: Json, wanted: Json) -> bool:
    """Does one rule allow all that an atom does?"""
    verbs = owned.get("verbs") or ()
    if "*" not in verbs and wanted["verbs"][0] not in verbs:
        return False
    urls = wanted.get("nonResourceURLs")
    if urls:
        return any(_covers_path(url, urls[0]) for url in owned.get("nonResourceURLs") or ())
    groups, resources = owned.get("apiGroups") or (), owned.get("resources") or ()
    if "*" not in groups and wanted["apiGroups"][0] not in groups:
        return False
    resource = wanted["resources"][0]
    _, slash, below = resource.partition("/")
    if not ("*" in resources or resource in resources or (slash and f"*/{below}" in resources)):
        return False
    names = owned.get("resourceNames")
    if not names:
        return True
    return bool(wanted.get("resourceNames")) and wanted["resourceNames"][0] in names


def _covers_path(owned: str, wanted: str) -> bool:
    if owned in ("*", wanted):
        return True
    return owned.endswith("*") and wanted.rstrip("*").startswith(owned.rstrip("*"))


def _go_list(values: list[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def _shown(rule: Json) -> str:
    names = (
        ("apiGroups", "APIGroups"), ("resources", "Resources"), ("resourceNames", "ResourceNames"),
        ("nonResourceURLs", "NonResourceURLs"), ("verbs", "Verbs"),
    )  # fmt: skip
    parts = [f"{shown}:{_go_list(rule[key])}" for key, shown in names if rule.get(key)]
    return "{" + ", ".join(parts) + "}"


def _compact(atoms: list[Json]) -> list[Json]:
    """Atoms that differ in their verb only, as one rule."""
    merged: dict[str, Json] = {}
    for atom in atoms:
        key = repr([atom.get(k) for k in ("apiGroups", "resources", "resourceNames",
                                          "nonResourceURLs")])  # fmt: skip
        if key in merged:
            if atom["verbs"][0] not in merged[key]["verbs"]:
                merged[key]["verbs"].append(atom["verbs"][0])
        else:
            merged[key] = {**atom, "verbs": list(atom["verbs"])}
    return list(merged.values())


def missing_rules(owned: list[Json], wanted: list[Json]) -> list[Json]:
    """What `wanted` allows and `owned` does not."""
    found: list[Json] = []
    looked_at = 0
    for rule in wanted:
        if any(_covers_all(one, rule) for one in owned):
            continue
        for atom in _atoms(rule):
            looked_at += len(owned) + 1
            if looked_at > MAX_COMPARED:
                # differs: a real server compares on, for as long as it takes.
                return [*_compact(found), rule]
            if not any(_covers(one, atom) for one in owned):
                found.append(atom)
    return _compact(found)


def _covers_all(owned: Json, wanted: Json) -> bool:
    """Does one rule allow a whole other one? Most do, and then nothing is multiplied out."""
    if owned.get("resourceNames") or wanted.get("nonResourceURLs"):
        return False
    return all(
        "*" in (has := set(owned.get(key) or ())) or has.issuperset(wanted.get(key) or ())
        for key in ("verbs", "apiGroups", "resources")
    )


def check_escalation(
    api: Api, user: User, resource: ResourceDef, namespace: str, name: str, obj: Json,
    old: Json | None,
) -> None:  # fmt: skip
    """Raise 403 when a role or binding gives more than its author has."""
    if resource.group != GROUP or MASTERS in user.groups:
        return
    if resource.plural in _ROLES:
        if old is not None and old.get("rules") == obj.get("rules"):
            return
        if _may(api.rbac, user, "escalate", resource.plural, namespace, name):
            return
        _require(api, user, resource, namespace, name, obj.get("rules") or [])
    elif resource.plural in _BINDINGS:
        same = old is not None and old.get("roleRef") == obj.get("roleRef")
        if same and old is not None and old.get("subjects") == obj.get("subjects"):
            return
        reference = obj.get("roleRef") or {}
        kind, role = reference.get("kind", ""), reference.get("name", "")
        plural = "roles" if kind == "Role" else "clusterroles"
        if _may(api.rbac, user, "bind", plural, namespace, role):
            return
        rules = api.rbac.role_rules(kind, namespace, role)
        if rules is None:
            raise not_found(api.resource(GROUP, plural), role)
        _require(api, user, resource, namespace, name, rules)


def _may(rbac: Rbac, user: User, verb: str, plural: str, namespace: str, name: str) -> bool:
    attributes = Attributes(verb, GROUP, plural, "", namespace, name)
    return rbac.authorize(user, attributes).allowed


def _require(
    api: Api, user: User, resource: ResourceDef, namespace: str, name: str, wanted: list[Json]
) -> None:
    owned, unresolved = api.rbac.rules(user, namespace)
    missing = missing_rules(owned, wanted)
    if not missing:
        return
    groups = " ".join(f'"{group}"' for group in user.groups)
    lines = "\n".join(sorted(_shown(rule) for rule in missing))
    why = (
        f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not '
        f"currently held:\n{lines}"
    )
    if unresolved:
        shown = ", ".join(f'"{one}"' for one in unresolved)
        why += f"; resolution errors: [{shown}]"
    raise forbidden(resource, name, why)
