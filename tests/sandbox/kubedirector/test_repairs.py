"""What is lost, changed by hand, interrupted or restored, in a simulated world."""

from __future__ import annotations

import pytest

from labsandbox.kubedirector.model import GlobalConfig

from .simulation import NAMESPACE, World, make_app, make_cluster, make_role

pytestmark = pytest.mark.fast

HASH = "kubedirector.hpe.com/hashChangeCounter"


def configured(*roles: dict[str, object], **spec: object) -> World:
    world = World(make_cluster(*roles, **spec))
    world.settle()
    assert world.status["state"] == "configured"
    for log in (world.notes, world.jobs, world.actions, world.states):
        log.clear()
    return world


@pytest.mark.parametrize("storage", [None, {"size": "1Gi"}])
def test_replaced_container_is_set_up_again(storage: dict[str, str] | None) -> None:
    world = configured(make_role("LoadBalancer", storage=storage))
    pod = world.member()["pod"]
    world.restart(pod)
    world.step()
    if storage:
        expected = f"container ID has changed for member{{{pod}}}; will re-check setup"
    else:
        expected = (
            f"container ID has changed for member{{{pod}}}; no persistent storage, "
            "will re-run setup"
        )
    assert expected in world.messages()
    assert world.status["memberStateRollup"]["membersRestarting"]
    world.settle()
    assert [(job.kind, job.persistent) for job in world.jobs] == [("setup", bool(storage))]
    assert world.status["state"] == "configured"
    assert world.status["memberStateRollup"]["membersRestarting"] is False


def test_storage_gives_claim_and_init_container() -> None:
    world = configured(make_role("LoadBalancer", storage={"size": "1Gi"}))
    member = world.member()
    assert member["pvc"] == f"p-{member['pod']}"
    (stateful_set,) = world.stateful_sets.values()
    spec = stateful_set["spec"]
    assert spec["volumeClaimTemplates"][0]["metadata"]["name"] == "p"
    init = spec["template"]["spec"]["initContainers"][0]
    assert init["name"] == "init"
    mounts = spec["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "p", "mountPath": "/opt/guestconfig", "subPath": "opt/guestconfig"} in mounts
    world.change_spec(roles=[])
    world.settle()
    assert [a.name for a in world.actions if getattr(a, "name", "").startswith("p-")] == [
        member["pvc"]
    ]


def test_missing_service_is_made_again() -> None:
    world = configured(make_role("LoadBalancer"))
    member = world.member()
    del world.services[member["service"]]
    del world.services[world.status["clusterService"]]
    world.settle()
    said = f"re-creating missing service for member{{{member['pod']}}} in role{{LoadBalancer}}"
    assert said in world.messages()
    assert "re-creating missing cluster service" in world.messages()
    service = world.services[member["service"]]
    token = service["metadata"]["annotations"]["kubedirector.hpe.com/kd-auth-token"]
    assert token == member["authToken"]


def test_deleted_stateful_set_is_made_again() -> None:
    world = configured(make_role("LoadBalancer"))
    world.stateful_sets.clear()
    world.settle()
    assert "restoring role{LoadBalancer}" in world.messages()
    assert world.status["state"] == "configured"
    assert world.status["readyMembers"] == "1/1"


def test_replicas_changed_by_hand_are_put_right() -> None:
    world = configured(make_role("LoadBalancer"))
    (stateful_set,) = world.stateful_sets.values()
    stateful_set["spec"]["replicas"] = 3
    world.settle()
    assert stateful_set["spec"]["replicas"] == 1
    assert world.status["state"] == "configured"


def test_stable_cluster_tells_those_connected_to_it() -> None:
    world = World(make_cluster(), dependents=("notebook",))
    world.settle()
    assert "connected to cluster {notebook}; updating it" in world.messages()
    assert "connected cluster {training} has changed" in world.messages()
    assert [action.cluster for action in world.actions if hasattr(action, "cluster")] == [
        "notebook"
    ]


def test_deleted_cluster_is_greenlighted() -> None:
    world = configured()
    world.cluster["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    plan = world.step()
    assert plan.is_gone
    assert world.messages() == ["greenlighting for deletion"]
    assert world.cluster["metadata"]["finalizers"] == []


def test_cluster_without_its_app_waits() -> None:
    world = World(make_cluster(), app=None)
    world.step()
    assert world.messages() == ["app referenced by cluster does not exist"]
    world.app = make_app()
    world.settle()
    assert world.status["state"] == "configured"


def test_every_point_of_interruption_ends_configured() -> None:
    """An operator that forgot everything in memory after any pass still gets there."""
    longest = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer", 2)))
    passes = 0
    while longest.cluster.get("status", {}).get("state") != "configured":
        longest.step()
        passes += 1
    for stop in range(1, passes + 1):
        world = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer", 2)))
        for _ in range(stop):
            world.step()
        world.reports.clear()
        world.busy.clear()
        world.settle()
        assert world.status["state"] == "configured", stop
        assert len(world.stateful_sets) == 2
        assert len(world.services) == 4


def test_lost_status_write_finds_its_objects_again() -> None:
    """An operator that was killed after it acted, and before it wrote the status."""
    world = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer")))
    world.step()
    saved = dict(world.cluster)
    world.step()
    token = world.member()["authToken"]
    world.cluster = saved
    world.settle()
    assert len(world.stateful_sets) == 2
    assert len(world.services) == 3
    assert world.member()["authToken"] == token
    assert world.status["state"] == "configured"


def test_thousand_members_are_planned() -> None:
    world = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer", 999)))
    world.settle()
    assert world.status["readyMembers"] == "1000/1000"


def test_restored_cluster_takes_its_status_from_the_backup() -> None:
    world = World(make_cluster(), settings=GlobalConfig(backup_status=True))
    world.settle()
    backups = [a for a in world.actions if getattr(a, "name", "") == "training"]
    assert (
        world.cluster["metadata"]["annotations"]["kubedirector.hpe.com/status-backup-exists"]
        == "true"
    )
    saved = world.status
    world.backup = {"spec": {"statusBackup": saved}}
    assert backups == []
    world.cluster = make_cluster()
    world.cluster["metadata"] |= {
        "uid": "new",
        "labels": {"kubedirector.hpe.com/restoring": ""},
        "annotations": {"kubedirector.hpe.com/status-backup-exists": "true", HASH: "1"},
    }
    world.jobs.clear()
    world.settle()
    assert world.status["state"] == "configured"
    assert "restoreProgress" not in world.status
    assert world.jobs == []
    said = world.messages()
    assert "being restored: setting initial restore-progress flags" in said
    assert "resuming reconciliation" in said
    owners = {s["metadata"]["ownerReferences"][0]["uid"] for s in world.stateful_sets.values()}
    assert owners == {"new"}
    assert world.cluster["metadata"]["labels"] == {}


def test_restore_without_backup_says_why_it_cannot_go_on() -> None:
    world = World(make_cluster())
    world.cluster["metadata"] |= {
        "labels": {"kubedirector.hpe.com/restoring": ""},
        "annotations": {"kubedirector.hpe.com/status-backup-exists": "false"},
    }
    world.settle()
    assert "backups were not enabled" in world.status["problem"]
    assert world.status["restoreProgress"]["awaitingStatus"]
    assert world.cluster["metadata"]["namespace"] == NAMESPACE
