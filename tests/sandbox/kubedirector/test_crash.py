"""The operator is killed at every step of a cluster's life; what it left is brought to an end."""

from __future__ import annotations

import random
import time

import pytest

from labsandbox.client.resources import CONFIGMAPS, KDCLUSTERS, SERVICES, STATEFULSETS

from .harness import Platform

pytestmark = pytest.mark.sandbox

# The whole way takes some 0.4 s here; kills are spread over it, at moments that are reproducible.
_MOMENTS = sorted(random.Random(7).uniform(0, 0.45) for _ in range(6))


def test_operator_killed_while_it_sets_up_configures_once(
    platform: Platform, namespace: str
) -> None:
    for number, moment in enumerate(_MOMENTS):
        name = f"c{number}"
        platform.make_cluster(name, namespace, many=1)
        end = time.monotonic() + moment
        platform.wait(lambda end=end: time.monotonic() >= end, "the moment has come")
        platform.kill_operator()
        platform.start_operator()
    for number in range(len(_MOMENTS)):
        cluster = platform.wait_configured(f"c{number}", namespace)
        assert cluster["status"]["readyMembers"] == "2/2"
        for role in cluster["status"]["roles"]:
            (member,) = role["members"]
            calls = platform.calls(namespace, member["pod"])
            assert calls.count("--configure") == 1, (number, calls)
    made = [platform.run(platform.client.list(r, namespace)) for r in (STATEFULSETS, SERVICES)]
    # One StatefulSet for each role; a headless service and one for the role with a port.
    assert [len(found) for found in made] == [2 * len(_MOMENTS)] * 2


def test_operator_killed_while_it_reconnects_calls_it_once(
    platform: Platform, namespace: str
) -> None:
    platform.make_configmap("model", namespace)
    platform.make_cluster(
        "c", namespace, behaviour="--reconnect slow", connections={"configmaps": ["model"]}
    )
    cluster = platform.wait_configured("c", namespace)
    pod = cluster["status"]["roles"][0]["members"][0]["pod"]
    platform.patch(CONFIGMAPS, "model", namespace, {"data": {"x": "1"}})
    platform.wait(lambda: "--reconnect" in platform.calls(namespace, pod), "reconnect has begun")
    platform.kill_operator()
    platform.start_operator()
    cluster = platform.wait_configured("c", namespace)
    assert platform.calls(namespace, pod) == ["--configure", "--reconnect"]
    assert cluster["status"]["problem"] == ""


def test_change_while_the_operator_was_away_is_noticed(platform: Platform, namespace: str) -> None:
    platform.make_configmap("model", namespace)
    platform.make_cluster("c", namespace, connections={"configmaps": ["model"]})
    cluster = platform.wait_configured("c", namespace)
    pod = cluster["status"]["roles"][0]["members"][0]["pod"]
    platform.kill_operator()
    platform.patch(CONFIGMAPS, "model", namespace, {"data": {"x": "1"}})
    platform.start_operator()
    platform.wait(lambda: "--reconnect" in platform.calls(namespace, pod), "it reconnects")


def test_operator_killed_while_it_resizes_ends_configured(
    platform: Platform, namespace: str
) -> None:
    platform.make_cluster("c", namespace)
    roles = platform.wait_configured("c", namespace)["spec"]["roles"]
    for members in (2, 0):
        roles[1]["members"] = members
        platform.patch(KDCLUSTERS, "c", namespace, {"spec": {"roles": roles}})
        platform.kill_operator()
        platform.start_operator()
        cluster = platform.wait_configured("c", namespace)
        assert cluster["status"]["readyMembers"] == f"{members + 1}/{members + 1}"


@pytest.mark.parametrize("moment", [0.05, 0.2])
def test_api_server_killed_while_the_operator_sets_up(
    platform: Platform, namespace: str, moment: float
) -> None:
    platform.make_cluster("c", namespace, many=1)
    end = time.monotonic() + moment
    platform.wait(lambda: time.monotonic() >= end, "the moment has come")
    platform.server.kill()
    platform.server.start()
    platform.reconnect()
    cluster = platform.wait_configured("c", namespace)
    for role in cluster["status"]["roles"]:
        (member,) = role["members"]
        assert platform.calls(namespace, member["pod"]).count("--configure") == 1


def test_node_killed_while_the_operator_sets_up(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace, behaviour="--configure slow")
    platform.wait(
        lambda: (platform.cluster("c", namespace).get("status") or {}).get("roles"), "it has begun"
    )
    platform.kill("node")
    platform.start_node()
    cluster = platform.wait_configured("c", namespace)
    (member,) = cluster["status"]["roles"][0]["members"]
    assert platform.calls(namespace, member["pod"]).count("--configure") == 1
