"""The environment and command line of a container."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from labsandbox.node import environment
from labsandbox.node.environment import ConfigError

from .samples import make_map, make_pod

pytestmark = pytest.mark.fast

SECRET = {"kind": "Secret", "data": {"key": base64.b64encode(b"s3cret").decode()}}
KNOWN = {("ConfigMap", "m"): make_map("m", a="1", **{"2bad": "x"}), ("Secret", "s"): SECRET}


def find(kind: str, name: str) -> dict[str, Any] | None:
    return KNOWN.get((kind, name))


def build(*env: dict[str, Any], **container: Any) -> dict[str, str]:
    whole = {"name": "c", "env": list(env), **container}
    pod = make_pod("p", whole)
    pod["status"] = {"podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}]}
    return environment.build(pod, whole, {"BASE": "b"}, find, {"cpu": "2", "memory": "1Gi"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
    ],
)
def test_expand_replaces_known_names_only(text: str, expected: str) -> None:
    assert environment.expand(text, {"A": "1"}) == expected


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ({}, ["entry", "default"]),
        ({"args": ["$(A)"]}, ["entry", "1"]),
        ({"command": ["run"]}, ["run"]),
        ({"command": ["run"], "args": ["x"]}, ["run", "x"]),
    ],
)
def test_command_line_pod_wins_over_image(pod: dict[str, Any], expected: list[str]) -> None:
    assert environment.command_line(pod, ["entry"], ["default"], {"A": "1"}) == expected


def test_build_resolves_every_kind_of_source() -> None:
    found = build(
        {"name": "PLAIN", "value": "$(BASE)/x"},
        {"name": "FIELD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {
            "name": "MEM",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
        },
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
        resources={"requests": {"cpu": "1500m"}},
    )
    assert found == {
        "BASE": "b",
        "PLAIN": "b/x",
        "FIELD": "p",
        "IP": "10.244.1.2",
        "MAP": "1",
        "SECRET": "s3cret",
        "MEM": "1024",
        "CPU": "2",
    }


def test_build_env_from_skips_names_no_variable_can_have() -> None:
    found = build(envFrom=[{"configMapRef": {"name": "m"}, "prefix": ""}])
    assert found == {"BASE": "b", "a": "1"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "x", "key": "a"}}, 'configmap "x" not found'),
        ({"configMapKeyRef": {"name": "m", "key": "z"}}, "couldn't find key z in ConfigMap t/m"),
        ({"secretKeyRef": {"name": "x", "key": "a"}}, 'secret "x" not found'),
    ],
)
def test_build_missing_source_says_which(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build({"name": "A", "valueFrom": source})


def test_build_missing_optional_source_leaves_the_name_out() -> None:
    source = {"configMapKeyRef": {"name": "x", "key": "a", "optional": True}}
    assert "A" not in build({"name": "A", "valueFrom": source})


def test_service_links_name_host_and_ports() -> None:
    service = {
        "metadata": {"name": "my-db"},
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "sql", "port": 5432}]},
    }
    headless = {"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}
    found = environment.service_links([service, headless])
    assert found["MY_DB_SERVICE_HOST"] == "10.96.0.9"
    assert found["MY_DB_SERVICE_PORT_SQL"] == "5432"
    assert found["MY_DB_PORT_5432_TCP_ADDR"] == "10.96.0.9"
    assert not any(name.startswith("H_") for name in found)
