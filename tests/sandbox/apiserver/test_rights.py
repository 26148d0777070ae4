"""Rules of RBAC without a server: what a rule allows, and who grants more than they have."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox.apiserver.auth.escalation import missing_rules
from labsandbox.apiserver.auth.rbac import Attributes, rule_allows

pytestmark = pytest.mark.fast
Json = dict[str, Any]
PODS: Json = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}

ALLOWED = [
    (PODS, Attributes("get", "", "pods"), True),
    (PODS, Attributes("list", "", "pods"), False),
    (PODS, Attributes("get", "", "pods", "log"), False),
    (PODS, Attributes("get", "apps", "pods"), False),
    ({**PODS, "resources": ["pods/log"]}, Attributes("get", "", "pods", "log"), True),
    ({**PODS, "resources": ["*/log"]}, Attributes("get", "", "pods", "log"), True),
    ({**PODS, "resources": ["*"]}, Attributes("get", "", "pods", "log"), True),
    ({**PODS, "verbs": ["*"]}, Attributes("delete", "", "pods"), True),
    ({**PODS, "resourceNames": ["a"]}, Attributes("get", "", "pods", name="a"), True),
    ({**PODS, "resourceNames": ["a"]}, Attributes("get", "", "pods", name="b"), False),
    ({**PODS, "resourceNames": ["a"]}, Attributes("list", "", "pods"), False),
    ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, Attributes("get", path="/api/v1"), True),
    ({"verbs": ["get"], "nonResourceURLs": ["/api"]}, Attributes("get", path="/api/v1"), False),
    (PODS, Attributes("get", path="/pods"), False),
]


@pytest.mark.parametrize(("rule", "attributes", "expected"), ALLOWED)
def test_rule_allows(rule: Json, attributes: Attributes, expected: bool) -> None:
    assert bool(rule_allows(rule, attributes)) is expected


MISSING = [
    ([PODS], [PODS], 0),
    ([PODS], [{**PODS, "verbs": ["get", "delete"]}], 1),
    ([{**PODS, "verbs": ["*"]}], [{**PODS, "verbs": ["get", "delete"]}], 0),
    ([PODS], [{**PODS, "resources": ["pods/exec"]}], 1),
    ([{**PODS, "resourceNames": ["a"]}], [PODS], 1),
    ([PODS], [{**PODS, "resourceNames": ["a"]}], 0),
    ([], [{"verbs": ["get"], "nonResourceURLs": ["*"]}], 1),
    ([PODS], [{**PODS, "verbs": ["*"]}], 1),
]


@pytest.mark.parametrize(("owned", "wanted", "expected"), MISSING)
def test_missing_rules_are_found(owned: list[Json], wanted: list[Json], expected: int) -> None:
    assert len(missing_rules(owned, wanted)) == expected
