"""Tables as kubectl prints them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labsandbox.apiserver.printers import partial, table
from labsandbox.apiserver.printers.age import span
from labsandbox.apiserver.printers.custom import find
from tests.golden.recording import read_areas

pytestmark = pytest.mark.fast
RECORDINGS = Path(__file__).parents[2] / "golden" / "recordings"


def resource(name: str, custom: Any = None) -> SimpleNamespace:
    """What a table needs to know of a resource."""
    return SimpleNamespace(group_resource=name, custom=custom)


def cells(name: str, obj: dict[str, Any]) -> dict[str, Any]:
    """One row by column name."""
    found = table(resource(name), [obj])
    heads = [one["name"] for one in found["columnDefinitions"]]
    return dict(zip(heads, found["rows"][0]["cells"], strict=True))


def pod(**status: Any) -> dict[str, Any]:
    """A pod of one container with this status."""
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c"}]},
        "status": status,
    }


def container(**state: Any) -> dict[str, Any]:
    """The status of a container in this state."""
    return {"name": "c", "ready": False, "restartCount": 0, "state": state}


@pytest.mark.parametrize(
    ("status", "ready", "word"),
    [
        ({"phase": "Pending"}, "0/1", "Pending"),
        (
            {"containerStatuses": [container(waiting={"reason": "CrashLoopBackOff"})]},
            "0/1",
            "CrashLoopBackOff",
        ),
        (
            {"containerStatuses": [container(terminated={"exitCode": 3})]},
            "0/1",
            "ExitCode:3",
        ),
        (
            {"containerStatuses": [container(terminated={"signal": 9, "exitCode": 137})]},
            "0/1",
            "Signal:9",
        ),
        (
            {"containerStatuses": [{**container(running={}), "ready": True}], "phase": "Running"},
            "1/1",
            "Running",
        ),
        (
            {"initContainerStatuses": [container(terminated={"exitCode": 1, "reason": "Error"})]},
            "0/1",
            "Init:Error",
        ),
        ({"initContainerStatuses": [container(running={})]}, "0/1", "Init:0/0"),
        ({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
        (
            {"conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            "0/1",
            "SchedulingGated",
        ),
    ],
)
def test_pod_row_says_what_happens(status: dict[str, Any], ready: str, word: str) -> None:
    row = cells("pods", pod(**status))
    assert (row["Ready"], row["Status"]) == (ready, word)


def test_pod_row_of_a_deleted_pod_is_terminating() -> None:
    gone = pod(phase="Running")
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert cells("pods", gone)["Status"] == "Terminating"
    gone["status"]["phase"] = "Succeeded"
    assert cells("pods", gone)["Status"] == "Succeeded"


def test_pod_row_tells_when_it_restarted_last() -> None:
    restarted = container(running={})
    restarted["restartCount"] = 2
    restarted["lastState"] = {"terminated": {"finishedAt": "2020-01-01T00:00:00Z"}}
    assert cells("pods", pod(containerStatuses=[restarted]))["Restarts"].startswith("2 (")


def test_pod_row_that_ended_has_a_condition() -> None:
    found = table(resource("pods"), [pod(phase="Succeeded")])
    assert found["rows"][0]["conditions"][0]["reason"] == "Succeeded"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (3600, "60m"),
        (4 * 3600 + 60, "4h1m"),
        (30 * 3600, "30h"),
        (3 * 86400, "3d"),
        (3 * 86400 + 3600, "3d1h"),
        (400 * 86400, "400d"),
        (800 * 86400, "2y70d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_age_has_two_units_at_most(seconds: int, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("spec", "external"),
    [
        ({"type": "ClusterIP"}, "<none>"),
        ({"type": "LoadBalancer"}, "<pending>"),
        ({"type": "ExternalName", "externalName": "a.example"}, "a.example"),
        ({"type": "NodePort", "externalIPs": ["1.2.3.4"]}, "1.2.3.4"),
    ],
)
def test_service_row_shows_where_it_is_reached(spec: dict[str, Any], external: str) -> None:
    assert cells("services", {"metadata": {"name": "s"}, "spec": spec})["External-IP"] == external


def test_node_row_shows_roles_and_cordon() -> None:
    node = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"unschedulable": True},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    row = cells("nodes", node)
    assert row["Status"] == "Ready,SchedulingDisabled"
    assert row["Roles"] == "worker"


def test_secret_row_counts_and_never_shows() -> None:
    row = cells("secrets", {"metadata": {"name": "s"}, "type": "Opaque", "data": {"p": "cQ=="}})
    assert row["Data"] == 1
    assert "cQ==" not in str(row)


def test_unknown_resource_has_name_and_creation() -> None:
    found = table(resource("limitranges"), [{"metadata": {"name": "l"}}])
    assert [one["name"] for one in found["columnDefinitions"]] == ["Name", "Created At"]


def test_custom_columns_follow_the_definition() -> None:
    definitions = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        },
        {"name": "Labels", "type": "string", "jsonPath": ".metadata.labels"},
        {"name": "When", "type": "date", "jsonPath": ".spec.when"},
    ]
    obj = {
        "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {"size": 2, "when": "yesterday"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    found = table(resource("xs.example.com", custom=object()), [obj], definitions)
    assert found["rows"][0]["cells"] == ["x", 2, "True", '{"a":"b"}', "<invalid>"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        (".list[0]", ["x"]),
        (".list[-1]", ["y"]),
        (".list[*]", ["x", "y"]),
        (".a['b']", [1]),
        (r".dotted\.key", [3]),
        (".none", []),
        (".a[broken", []),
    ],
)
def test_custom_json_path_finds(path: str, found: list[Any]) -> None:
    assert find({"a": {"b": 1}, "list": ["x", "y"], "dotted.key": 3}, path) == found


def test_table_includes_what_is_asked_for() -> None:
    obj = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
    maps = resource("configmaps")
    assert table(maps, [obj], None, "None")["rows"][0]["object"] is None
    assert table(maps, [obj], None, "Object")["rows"][0]["object"] == obj
    assert table(maps, [obj])["rows"][0]["object"] == partial(obj)
    assert table(maps, [obj], columns=False)["columnDefinitions"] is None


def test_columns_are_those_of_a_real_server() -> None:
    """Every Table in the recordings has the columns made here, descriptions included."""
    checked = 0
    for area in read_areas(RECORDINGS):
        for exchange in area.exchanges:
            body = exchange.answer
            if not isinstance(body, dict) or body.get("kind") != "Table":
                continue
            name = _group_resource(exchange.path)
            if name.endswith("ex.test.io"):
                continue
            assert table(resource(name), [])["columnDefinitions"] == body["columnDefinitions"]
            checked += 1
    assert checked > 20


def _group_resource(path: str) -> str:
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    return f"{rest[0]}.{group}" if group else rest[0]
