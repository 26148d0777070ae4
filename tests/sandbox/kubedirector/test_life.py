"""kdclusters with running members: made, resized, broken, connected, deleted."""

from __future__ import annotations

import base64
import json
from typing import Any

import psutil
import pytest

from labsandbox.client.resources import (
    CONFIGMAPS,
    KDCLUSTERS,
    KDCONFIGS,
    KDSTATUSBACKUPS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
)

from .harness import Platform

pytestmark = pytest.mark.sandbox

PREFIX = "kubedirector.hpe.com/"
META = 'cat "$POD_ROOT/etc/guestconfig/configmeta.json"'


def member(cluster: dict[str, Any], role: int = 0, index: int = 0) -> dict[str, Any]:
    return dict(cluster["status"]["roles"][role]["members"][index])


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def problem(platform: Platform, namespace: str) -> str:
    return str((platform.cluster("c", namespace).get("status") or {}).get("problem", ""))


def configmeta(platform: Platform, namespace: str, pod: str) -> dict[str, Any]:
    return dict(json.loads(platform.shell(namespace, pod, META)))


def test_cluster_becomes_configured_with_everything_it_needs(
    platform: Platform, namespace: str
) -> None:
    platform.make_cluster("c", namespace)
    cluster = platform.wait_configured("c", namespace)
    pod = member(cluster)["pod"]
    assert platform.calls(namespace, pod) == ["--configure"]
    meta = configmeta(platform, namespace, pod)
    domain = f"{cluster['status']['clusterService']}.{namespace}.svc.cluster.local"
    assert meta["node"]["fqdn"] == f"{pod}.{domain}"
    service = platform.find(SERVICES, member(cluster)["service"], namespace)
    assert service is not None
    token = service["metadata"]["annotations"][PREFIX + "kd-auth-token"]
    assert token == meta["nodegroups"]["1"]["roles"]["one"]["services"]["web"]["authToken"]
    assert service["metadata"]["labels"]["hpecp.hpe.com/hpecp-internal-gateway"] == "true"
    copy = platform.shell(namespace, pod, 'stat -c %a "$POD_ROOT/home/guestconfig/configmeta.json"')
    assert copy.strip() == "644"
    table = platform.kubectl("get", "kdcluster", "-n", namespace).stdout.splitlines()
    assert table[0].split() == (
        ["NAME", "KDAPP", "STATE", "ANY", "DOWN", "ANY", "CONFIGERROR", "READY", "PROBLEM", "AGE"]
    )
    assert table[1].split()[:6] == ["c", "test", "configured", "false", "false", "1/1"]


def test_events_of_a_whole_life_are_seen(platform: Platform, namespace: str) -> None:
    platform.make_configmap("model", namespace)
    platform.make_cluster("c", namespace, connections={"configmaps": ["model"]})
    platform.make_cluster("n", namespace, connections={"clusters": ["c"]})
    cluster = platform.wait_configured("c", namespace)
    platform.wait_configured("n", namespace)
    pod = member(cluster)["pod"]
    platform.patch(CONFIGMAPS, "model", namespace, {"data": {"model-version": "2"}})
    platform.wait(
        lambda: platform.calls(namespace, pod) == ["--configure", "--reconnect"], "reconnect ran"
    )
    roles = platform.wait_configured("c", namespace)["spec"]["roles"]
    roles[1]["members"] = 2
    platform.patch(KDCLUSTERS, "c", namespace, {"spec": {"roles": roles}})
    platform.wait_configured("c", namespace)
    platform.patch(KDCLUSTERS, "c", namespace, {"spec": {"roles": roles[:1]}})
    platform.wait_configured("c", namespace)
    expected = [
        "Cluster: new",
        "Role: creating role{one}",
        "Role: changing replicas count for role{one}: 0 -> 1",
        f"Member: initial config ongoing for member{{{pod}}} in role{{one}}",
        f"Member: initial config done for member{{{pod}}} in role{{one}}",
        "Cluster: stable",
        "Cluster: Annotation initialized to 1",
        "Cluster: Updated context",
        "ConfigMap: connected configmap {model} has changed",
        f"Cluster: --reconnect will be called for pod : {pod}",
        "Cluster: connected to cluster {n}; updating it",
        "Role: creating role{many}",
        f"Member: will notify member{{{pod}}}: addnodes",
        "Role: shrinking role{many}",
        f"Member: will notify member{{{pod}}}: delnodes",
        "Role: finishing cleanup on role{many}",
    ]
    platform.wait(
        lambda: set(expected) <= set(platform.events(namespace, "c")) or None,
        f"these events are there: {set(expected) - set(platform.events(namespace, 'c'))}",
        5,
    )
    assert "Cluster: connected to cluster {c}; updating it" in platform.events(namespace, "model")
    assert "Cluster: connected cluster {c} has changed" in platform.events(namespace, "n")
    kinds = [call.split()[0] for call in platform.calls(namespace, pod)]
    assert kinds == ["--configure", "--reconnect", "--addnodes", "--delnodes"]


def test_connection_change_reaches_the_member_without_restart(
    platform: Platform, namespace: str
) -> None:
    platform.make_cluster("c", namespace, connections={"configmaps": ["model"]})
    cluster = platform.wait_configured("c", namespace)
    pod, before = member(cluster)["pod"], platform.pods(namespace)
    # It appears only now: missing objects are skipped and picked up when they are there.
    platform.make_configmap("model", namespace)
    for version in ("2", "3"):
        platform.patch(CONFIGMAPS, "model", namespace, {"data": {"model-version": version}})
        platform.wait(
            lambda version=version: (
                configmeta(platform, namespace, pod)["connections"]["configmaps"]
                .get("model", [{"data": {}}])[0]["data"]
                .get("model-version")
                == version
            ),
            f"the member knows version {version}",
        )
    cluster = platform.wait_configured("c", namespace)
    notes = cluster["metadata"]["annotations"]
    assert int(notes[PREFIX + "hashChangeCounter"]) >= 3
    assert int(notes[PREFIX + "connUpdateCounter"]) >= 3
    calls = platform.calls(namespace, pod)
    assert calls[0] == "--configure"
    assert set(calls[1:]) == {"--reconnect"}
    after = platform.pods(namespace)
    assert [p["metadata"]["uid"] for p in after] == [p["metadata"]["uid"] for p in before]
    assert [p["status"]["containerStatuses"][0]["restartCount"] for p in after] == [0]


def test_unlabelled_configmap_reconnects_but_stays_unseen(
    platform: Platform, namespace: str
) -> None:
    platform.make_configmap("plain", namespace, kind=None)
    platform.make_cluster("c", namespace, connections={"configmaps": ["plain"]})
    pod = member(platform.wait_configured("c", namespace))["pod"]
    platform.patch(CONFIGMAPS, "plain", namespace, {"data": {"x": "1"}})
    platform.wait(lambda: "--reconnect" in platform.calls(namespace, pod), "reconnect ran")
    cluster = platform.wait_configured("c", namespace)
    assert configmeta(platform, namespace, pod)["connections"]["configmaps"] == {}
    assert PREFIX + "connUpdateCounter" not in cluster["metadata"]["annotations"]


def test_connection_is_a_matter_of_one_namespace(platform: Platform, namespace: str) -> None:
    other = platform.make_namespace(f"{namespace}-other")
    platform.make_configmap("model", namespace)
    platform.make_cluster("c", namespace, connections={"configmaps": ["model"]})
    cluster = platform.wait_configured("c", namespace)
    platform.make_configmap("model", other)
    platform.patch(CONFIGMAPS, "model", namespace, {"data": {"model-version": "9"}})
    platform.wait(
        lambda: "--reconnect" in platform.calls(namespace, member(cluster)["pod"]), "it reconnects"
    )
    assert platform.events(other) == []


def test_connected_cluster_and_secret_are_described(platform: Platform, namespace: str) -> None:
    platform.make_cluster("shared", namespace, many=2)
    platform.wait_configured("shared", namespace)
    labels = {PREFIX + "secretType": "kubeconfig"}
    secret = {"metadata": {"name": "kc", "labels": labels}, "data": {"config": encode("hello")}}
    platform.create(SECRETS, secret, namespace)
    connections = {"clusters": ["shared"], "secrets": ["kc"]}
    platform.make_cluster("n", namespace, connections=connections)
    pod = member(platform.wait_configured("n", namespace))["pod"]
    found = configmeta(platform, namespace, pod)["connections"]
    roles = found["clusters"]["shared"]["nodegroups"]["1"]["roles"]
    names = [fqdn.split(".")[0] for fqdn in roles["many"]["fqdns"]]
    shared = platform.cluster("shared", namespace)
    assert names == [member(shared, 1, 0)["pod"], member(shared, 1, 1)["pod"]]
    (described,) = found["secrets"]["kubeconfig"]
    assert base64.b64decode(described["data"]["config"]) == b"hello"
    assert base64.b64decode(described["metadata"]["name"]) == b"kc"


def test_failing_start_script_is_not_swallowed(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace, behaviour="--configure fail")
    cluster = platform.wait_configured("c", namespace)
    assert member(cluster)["state"] == "config error"
    assert cluster["status"]["memberStateRollup"]["configErrors"] is True
    assert member(cluster)["stateDetail"]["startScriptStderrMessage"] == "no such library\n"
    row = platform.kubectl("get", "kdcluster", "c", "-n", namespace).stdout
    assert "configure failed with exit status {3}" in row
    assert "true" in row
    platform.wait(
        lambda: any("no such library" in event for event in platform.events(namespace, "c")),
        "an event says why",
    )


def test_hanging_start_script_is_reported_and_may_still_end(
    platform: Platform, namespace: str
) -> None:
    platform.make_cluster("c", namespace, behaviour="--configure hang")
    platform.wait(
        lambda: "has not finished" in problem(platform, namespace),
        "the hanging script is reported",
    )
    cluster = platform.cluster("c", namespace)
    assert cluster["status"]["state"] == "creating"
    assert cluster["status"]["memberStateRollup"]["configErrors"] is True
    assert member(cluster)["stateDetail"]["startScriptStdoutMessage"] == "waiting for Godot\n"
    platform.shell(namespace, member(cluster)["pod"], 'touch "$POD_ROOT/continue"')
    cluster = platform.wait_configured("c", namespace)
    assert cluster["status"]["problem"] == ""
    assert platform.calls(namespace, member(cluster)["pod"]) == ["--configure"]


def test_megabytes_of_output_leave_a_short_tail(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace, behaviour="--configure megabytes")
    cluster = platform.wait_configured("c", namespace)
    said = member(cluster)["stateDetail"]["startScriptStdoutMessage"]
    assert said.endswith("the last line\n")
    assert len(said) <= 256


def test_hanging_reconnect_is_reported_and_does_not_block(
    platform: Platform, namespace: str
) -> None:
    platform.make_configmap("model", namespace)
    platform.make_cluster(
        "c", namespace, behaviour="--reconnect hang", connections={"configmaps": ["model"]}
    )
    platform.wait_configured("c", namespace)
    platform.patch(CONFIGMAPS, "model", namespace, {"data": {"x": "1"}})
    platform.wait(
        lambda: "--reconnect" in problem(platform, namespace),
        "the hanging script is reported",
    )
    cluster = platform.wait_configured("c", namespace)
    assert cluster["status"]["memberStateRollup"]["configErrors"] is True
    assert member(cluster)["state"] == "configured"


def test_replaced_pod_is_set_up_again(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace)
    pod = member(platform.wait_configured("c", namespace))["pod"]
    old = platform.find(PODS, pod, namespace)
    assert old is not None
    platform.run(platform.client.delete(PODS, pod, namespace, grace=0))

    def look() -> bool:
        found = platform.find(PODS, pod, namespace)
        status = platform.cluster("c", namespace)["status"]
        if found is None or found["metadata"]["uid"] == old["metadata"]["uid"]:
            return False
        (container,) = found["status"].get("containerStatuses") or [{}]
        detail = status["roles"][0]["members"][0]["stateDetail"]
        is_known = detail.get("lastConfiguredContainer") == container.get("containerID")
        return is_known and status["state"] == "configured" and status["readyMembers"] == "1/1"

    platform.wait(look, "the new pod is set up")
    said = f"Member: container ID has changed for member{{{pod}}}; no persistent storage, "
    platform.wait(
        lambda: said + "will re-run setup" in platform.events(namespace, "c"), "an event says so"
    )
    assert platform.calls(namespace, pod) == ["--configure"]


def test_secret_keys_reach_the_member_and_nobody_else(platform: Platform, namespace: str) -> None:
    role = {"secretKeys": [{"name": "password", "value": "opensesame"}]}
    platform.make_cluster("c", namespace, role=role)
    cluster = platform.wait_configured("c", namespace)
    assert "opensesame" not in json.dumps(cluster)
    meta = configmeta(platform, namespace, member(cluster)["pod"])
    assert meta["nodegroups"]["1"]["roles"]["one"]["secret_keys"] == {"password": "opensesame"}


def test_default_secret_and_env_reach_the_pod(platform: Platform, namespace: str) -> None:
    secret = {"metadata": {"name": "s"}, "data": {"key": encode("value")}}
    platform.create(SECRETS, secret, namespace)
    platform.make_cluster(
        "c",
        namespace,
        defaultSecret={"name": "s", "mountPath": "/secrets"},
        role={"env": [{"name": "GREETING", "value": "hello"}]},
    )
    pod = member(platform.wait_configured("c", namespace))["pod"]
    said = platform.shell(namespace, pod, 'cat "$POD_ROOT/secrets/key"; echo " $GREETING"')
    assert said.split() == ["value", "hello"]


def test_deleted_cluster_leaves_nothing(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace, many=1)
    platform.wait_configured("c", namespace)
    platform.run(platform.client.delete(KDCLUSTERS, "c", namespace))

    def left() -> list[Any]:
        found: list[Any] = []
        for resource in (KDCLUSTERS, STATEFULSETS, PODS, SERVICES):
            found += platform.run(platform.client.list(resource, namespace))
        return found

    platform.wait(lambda: not left(), "everything is gone")
    assert "Cluster: greenlighting for deletion" in platform.events(namespace, "c")


def test_hanging_script_ends_with_its_cluster(platform: Platform, namespace: str) -> None:
    def scripts() -> list[str]:
        lines = (" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
        return [line for line in lines if "startscript" in line and place in line]

    platform.make_cluster("c", namespace, behaviour="--configure hang")
    (pod,) = platform.wait(lambda: platform.pods(namespace), "the pod is there")
    place = pod["metadata"]["uid"]
    platform.wait(scripts, "the script runs")
    platform.delete_cluster("c", namespace)
    platform.wait(lambda: platform.is_empty(namespace), "no object is left")
    platform.wait(lambda: not scripts(), "no process is left")


def test_system_catalogue_is_used_when_the_namespace_has_no_such_app(
    platform: Platform, namespace: str
) -> None:
    amounts = {"cpu": "10m", "memory": "32Mi"}
    role = {"id": "controller", "resources": {"limits": amounts}}
    body = {"metadata": {"name": "c"}, "spec": {"app": "jupyter-notebook", "roles": [role]}}
    cluster = platform.create(KDCLUSTERS, body, namespace)
    assert cluster["spec"]["appCatalog"] == "system"
    assert cluster["spec"]["serviceType"] == "NodePort"
    assert cluster["spec"]["roles"][0]["members"] == 1
    cluster = platform.wait_configured("c", namespace)
    assert member(cluster)["pod"].startswith("kdss-")


def test_backed_up_cluster_is_restored_around_its_parts(platform: Platform, namespace: str) -> None:
    config = {"spec": {"backupClusterStatus": True}}
    platform.patch(KDCONFIGS, "kd-global-config", "kubedirector", config)
    try:
        platform.make_cluster("c", namespace)
        cluster = platform.wait_configured("c", namespace)
        backup = platform.wait(
            lambda: platform.find(KDSTATUSBACKUPS, "c", namespace), "the status is backed up"
        )
        notes = platform.cluster("c", namespace)["metadata"]["annotations"]
        assert notes[PREFIX + "status-backup-exists"] == "true"
        platform.run(platform.client.delete(KDCLUSTERS, "c", namespace))
        platform.wait(
            lambda: (
                not platform.find(KDCLUSTERS, "c", namespace)
                and not platform.find(KDSTATUSBACKUPS, "c", namespace)
            ),
            "the cluster and its backup are gone",
        )
        meta = {"name": "c", "annotations": {PREFIX + "status-backup-exists": "true"}}
        restored = {"metadata": meta, "spec": cluster["spec"]}
        made = platform.create(KDCLUSTERS, restored, namespace)
        assert PREFIX + "restoring" in made["metadata"]["labels"]
        platform.wait(
            lambda: platform.cluster("c", namespace).get("status", {}).get("restoreProgress"),
            "the operator waits for the parts",
        )
        copy = {"metadata": {"name": "c"}, "spec": {"statusBackup": backup["spec"]["statusBackup"]}}
        platform.create(KDSTATUSBACKUPS, copy, namespace)
        for name in ("Cluster: being restored: kdstatusbackup is present",):
            platform.wait(lambda name=name: name in platform.events(namespace, "c"), name)
    finally:
        config = {"spec": {"backupClusterStatus": False}}
        platform.patch(KDCONFIGS, "kd-global-config", "kubedirector", config)
