"""Role-based access control: who may do what, decided from the roles and bindings in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.auth.user import MASTERS, User

if TYPE_CHECKING:
    from labsandbox.apiserver.store import Change, Record, Store

Json = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
_BUCKETS = {
    kind: f"{kind}.{GROUP}"
    for kind in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
}


@dataclass(frozen=True)
class Attributes:
    """What is asked: an operation on a resource, or on a path when `path` is set."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    version: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True)
class Decision:
    allowed: bool
    reason: str = ""


@dataclass(frozen=True)
class _Grant:
    """A binding of a role to one subject."""

    namespace: str
    binding: str
    role_kind: str
    role: str
    subject: str

    def reason(self) -> str:
        kind, where = ("RoleBinding", f"{self.binding}/{self.namespace}")
        if not self.namespace:
            kind, where = ("ClusterRoleBinding", self.binding)
        return (
            f'RBAC: allowed by {kind} "{where}" of {self.role_kind} "{self.role}" to {self.subject}'
        )


_SubjectKey = tuple[str, str]


def rule_allows(rule: Json, attributes: Attributes) -> bool:
    """One PolicyRule against one question."""
    verbs = rule.get("verbs") or ()
    if attributes.verb not in verbs and "*" not in verbs:
        return False
    if attributes.path:
        return any(_path_matches(url, attributes.path) for url in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if attributes.group not in groups and "*" not in groups:
        return False
    resources = rule.get("resources") or ()
    if not (
        "*" in resources
        or attributes.full_resource in resources
        or (attributes.subresource and f"*/{attributes.subresource}" in resources)
    ):
        return False
    names = rule.get("resourceNames")
    return not names or attributes.name in names


def _path_matches(pattern: str, path: str) -> bool:
    if pattern == "*" or pattern == path:
        return True
    return pattern.endswith("*") and path.startswith(pattern[:-1].rstrip("*"))


class Rbac:
    """Answers from an index that is rebuilt after a role or binding changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stale = True
        self._grants: dict[_SubjectKey, list[_Grant]] = {}
        self._rules: dict[tuple[str, str, str], list[Json]] = {}
        self._decisions: dict[tuple[Any, ...], Decision] = {}
        store.listeners.append(self._changed)

    def _changed(self, change: Change) -> None:
        if change.bucket.endswith(GROUP):
            self._stale = True

    def _records(self, kind: str) -> list[Record]:
        return self._store.bucket(_BUCKETS[kind]).ordered(None)

    def _index(self) -> None:
        self._stale = False
        self._decisions.clear()
        self._grants = {}
        self._rules = {}
        aggregated: list[tuple[str, Json]] = []
        labelled: list[tuple[dict[str, str], list[Json]]] = []
        for record in self._records("clusterroles"):
            role = record.load()
            rules = role.get("rules") or []
            self._rules["ClusterRole", "", record.name] = rules
            labelled.append((role["metadata"].get("labels") or {}, rules))
            if role.get("aggregationRule"):
                aggregated.append((record.name, role["aggregationRule"]))
        self._aggregate(aggregated, labelled)
        for record in self._records("roles"):
            self._rules["Role", record.namespace, record.name] = record.load().get("rules") or []
        for kind in ("clusterrolebindings", "rolebindings"):
            for record in self._records(kind):
                self._index_binding(record)

    def _aggregate(
        self, aggregated: list[tuple[str, Json]], labelled: list[tuple[dict[str, str], list[Json]]]
    ) -> None:
        """Fill aggregating roles, also before any controller has written their rules.

        Twice, because edit aggregates into admin what view aggregated into edit.
        """
        for name, rule in aggregated:
            selectors = rule.get("clusterRoleSelectors") or []
            rules = list(self._rules["ClusterRole", "", name])
            for labels, more in labelled:
                if any(
                    all(labels.get(k) == v for k, v in (s.get("matchLabels") or {}).items())
                    and s.get("matchLabels")
                    for s in selectors
                ):
                    rules += [rule for rule in more if rule not in rules]
            self._rules["ClusterRole", "", name] = rules
        include = {"view": "edit", "edit": "admin"}
        for lower, upper in include.items():
            into = self._rules.get(("ClusterRole", "", upper))
            if into is not None and any(name == upper for name, _ in aggregated):
                into += [
                    r for r in self._rules.get(("ClusterRole", "", lower), []) if r not in into
                ]

    def _index_binding(self, record: Record) -> None:
        binding = record.load()
        reference = binding.get("roleRef") or {}
        for subject in binding.get("subjects") or ():
            kind, name = subject.get("kind", ""), subject.get("name", "")
            shown = f'{kind} "{name}"'
            if kind == "ServiceAccount":
                namespace = subject.get("namespace") or record.namespace
                key = ("User", f"system:serviceaccount:{namespace}:{name}")
                shown = f'{kind} "{name}/{namespace}"'
            else:
                key = (kind, name)
            grant = _Grant(
                record.namespace, record.name, reference.get("kind", ""),
                reference.get("name", ""), shown,
            )  # fmt: skip
            self._grants.setdefault(key, []).append(grant)

    def _grants_of(self, user: User, namespace: str) -> Iterator[_Grant]:
        if self._stale:
            self._index()
        keys: list[_SubjectKey] = [("User", user.name)]
        keys += [("Group", group) for group in user.groups]
        found = [grant for key in keys for grant in self._grants.get(key, ())]
        for grant in found:
            if not grant.namespace:
                yield grant
        if namespace:
            for grant in found:
                if grant.namespace == namespace:
                    yield grant

    def _role_rules(self, grant: _Grant) -> list[Json] | None:
        namespace = grant.namespace if grant.role_kind == "Role" else ""
        return self._rules.get((grant.role_kind, namespace, grant.role))

    def rules(self, user: User, namespace: str) -> tuple[list[Json], list[str]]:
        """All rules that hold for a user in a namespace, and what could not be resolved."""
        rules: list[Json] = []
        missing: list[str] = []
        for grant in self._grants_of(user, namespace):
            found = self._role_rules(grant)
            if found is None:
                missing.append(_missing(grant))
            else:
                rules += found
        return rules, missing

    def role_rules(self, kind: str, namespace: str, name: str) -> list[Json] | None:
        """The rules of one role; None when there is no such role."""
        if self._stale:
            self._index()
        return self._rules.get((kind, namespace if kind == "Role" else "", name))

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        """Decide; the reason of a refusal names roles that bindings refer to in vain."""
        if MASTERS in user.groups:
            return Decision(True)
        if self._stale:
            self._index()
        key = (user.name, user.groups, attributes)
        known = self._decisions.get(key)
        if known is None:
            known = self._decide(user, attributes)
            if len(self._decisions) > 5000:
                self._decisions.clear()
            self._decisions[key] = known
        return known

    def _decide(self, user: User, attributes: Attributes) -> Decision:
        missing: list[str] = []
        for grant in self._grants_of(user, attributes.namespace):
            rules = self._role_rules(grant)
            if rules is None:
                missing.append(_missing(grant))
                continue
            if any(rule_allows(rule, attributes) for rule in rules):
                return Decision(True, grant.reason())
        unique = list(dict.fromkeys(missing))
        if not unique:
            return Decision(False)
        text = unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
        return Decision(False, f"RBAC: {text}")


def _missing(grant: _Grant) -> str:
    return f'{grant.role_kind.lower()}.{GROUP} "{grant.role}" not found'
