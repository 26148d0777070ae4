"""Changed connections, in a simulated world: the hash, the counters, --reconnect."""

from __future__ import annotations

import hashlib

import pytest

from labsandbox.kubedirector.reconcile.plan import Report
from labsandbox.kubedirector.script import Answer

from .simulation import World, exited, make_cluster, make_role, running

pytestmark = pytest.mark.fast

HASH = "kubedirector.hpe.com/hashChangeCounter"


def configured(*roles: dict[str, object], **spec: object) -> World:
    world = World(make_cluster(*roles, **spec))
    world.settle()
    assert world.status["state"] == "configured"
    for log in (world.notes, world.jobs, world.actions, world.states):
        log.clear()
    return world


def configmap(name: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def test_connection_change_calls_reconnect_without_restart() -> None:
    world = World(make_cluster(connections={"configmaps": ["model"]}))
    world.connected["configmaps"] = {"model": configmap("model", 7)}
    world.settle()
    assert world.status["lastConnectionHash"] == hashlib.md5(b"model7").hexdigest()
    pods, generation = dict(world.pods), world.status["specGenerationToProcess"]
    for log in (world.notes, world.jobs, world.states):
        log.clear()
    world.connected["configmaps"] = {"model": configmap("model", 8)}
    world.settle()
    assert list(dict.fromkeys(world.states)) == ["updating", "configured"]
    assert world.cluster["metadata"]["annotations"][HASH] == "2"
    assert world.status["specGenerationToProcess"] == generation + 1
    assert [(job.kind, job.reconnect, job.version) for job in world.jobs] == [
        ("update", True, 2)
    ] * 2
    assert world.pods == pods
    said = world.messages()
    assert "Updated context" in said
    assert f"--reconnect will be called for pod : {world.member()['pod']}" in said
    assert world.member()["stateDetail"]["lastConnectionVersion"] == 2


def test_reconnect_that_fails_is_shown_and_healed_by_the_next() -> None:
    world = World(make_cluster(connections={"configmaps": ["model"]}))
    world.settle()
    world.answer = exited(5, "", "bad model\n")
    world.connected["configmaps"] = {"model": configmap("model", 8)}
    world.settle()
    assert world.status["state"] == "configured"
    assert world.member()["state"] == "configured"
    assert world.status["memberStateRollup"]["configErrors"]
    assert "--reconnect failed with exit status {5}" in world.status["problem"]
    world.answer = exited()
    world.connected["configmaps"] = {"model": configmap("model", 9)}
    world.settle()
    assert not world.status["memberStateRollup"]["configErrors"]


def test_change_during_reconnect_is_followed_by_another() -> None:
    world = World(make_cluster(make_role("LoadBalancer"), connections={"configmaps": ["m"]}))
    world.settle()
    world.jobs.clear()
    world.answer = running
    for version in (2, 3):
        world.connected["configmaps"] = {"m": configmap("m", version)}
        world.settle()
    pod = world.member()["pod"]
    assert len([job for job in world.jobs if job.pod == pod]) == 1
    job = world.jobs[0]
    world.answer = exited()
    world.busy.clear()
    done = Answer("exited", 0, world.status["specGenerationToProcess"] - 1, "", "")
    world.reports[pod] = Report("update", pod, job.container, done, job.version)
    world.settle()
    assert [j.version for j in world.jobs] == [2, 3]
    assert world.status["state"] == "configured"


def test_member_in_config_error_is_set_up_again_when_a_connection_changes() -> None:
    world = World(make_cluster(make_role("LoadBalancer"), connections={"configmaps": ["m"]}))
    world.answer = exited(1)
    world.settle()
    assert world.member()["state"] == "config error"
    world.answer = exited()
    world.connected["configmaps"] = {"m": configmap("m", 2)}
    world.settle()
    pod = world.member()["pod"]
    said = f"member{{{pod}}} was previously in config error state; re-trying setup"
    assert said in world.messages()
    assert world.member()["state"] == "configured"
    assert world.jobs[-1].attempt
    assert world.status["problem"] == ""


def test_clusters_that_connect_to_each_other_come_to_rest() -> None:
    def other(generation: int, processed: int) -> dict[str, object]:
        return {
            "metadata": {"name": "other", "generation": generation},
            "spec": {"connections": {"clusters": ["training"]}},
            "status": {"specGenerationToProcess": processed},
        }

    world = World(make_cluster(connections={"clusters": ["other"]}))
    world.connected["clusters"] = {"other": other(1, 1), "training": world.cluster}
    world.settle()
    before = world.status["lastConnectionHash"]
    world.connected["clusters"]["other"] = other(1, 2)
    world.settle()
    assert world.status["lastConnectionHash"] == before
    world.connected["clusters"]["other"] = other(2, 3)
    world.settle()
    assert world.status["lastConnectionHash"] != before
