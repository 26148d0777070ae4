"""A tenant's pod, or a tenant's user, gets nothing of another tenant through the node."""

from __future__ import annotations

import ssl

import aiohttp
import pytest

from labsandbox.client.resources import NODES, PODS, SECRETS
from labsandbox.node import landlock
from tests.sandbox.cluster import Cluster, pod

pytestmark = pytest.mark.sandbox
confined = pytest.mark.skipif(
    not landlock.abi(), reason="this kernel has no Landlock: nothing is confined"
)

SLEEP = "sleep 1000"


@confined
def test_pod_cannot_read_other_pods_keys_or_repositories(cluster: Cluster) -> None:
    mine, theirs = cluster.namespace("mine"), cluster.namespace("theirs")
    secret = {"metadata": {"name": "s"}, "data": {"pw": "czNjcmV0"}}
    cluster.create(SECRETS, secret, theirs)
    victim = pod("v", f"echo s3cret > $PROJECT_REPO/f; {SLEEP}")
    victim["spec"]["volumes"] = [{"name": "s", "secret": {"secretName": "s"}}]
    victim["spec"]["containers"][0]["volumeMounts"] = [{"name": "s", "mountPath": "/s"}]
    env = [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}}]
    victim["spec"]["containers"][0]["env"] = env
    cluster.create(PODS, victim, theirs)
    cluster.create(PODS, pod("p", SLEEP), mine)
    uid = cluster.running(theirs, "v")["metadata"]["uid"]
    cluster.running(mine, "p")
    state = cluster.state
    targets = [
        f"{state}/node/pods/{uid}/c-c/root/s/pw",
        f"{state}/node/pods/{uid}/volumes/s/pw",
        f"{state}/node/pods/{uid}/pod.json",
        f"{state}/node/pods/{uid}/c-c/0.log",
        f"{state}/projects/{theirs}/f",
        f"{state}/pki/ca.key",
        f"{state}/admin.conf",
        f"{state}/apiserver.db",
        "/etc/shadow",
        "/dev/loop0",
        *(f"/proc/{pid}/environ" for pid in cluster.node_pids()),
    ]
    for target in targets:
        found = cluster.exec(mine, "p", "cat", target)
        assert not found.ok, target
        assert b"s3cret" not in found.stdout
    writes = [f"{state}/projects/{theirs}/x", "/tmp/x", f"{state}/x", f"{state}/resolver/hosts"]
    for target in writes:
        assert not cluster.exec(mine, "p", "sh", "-c", f"echo x >> {target}").ok, target
    assert cluster.shell(mine, "p", "touch $PROJECT_REPO/own && echo ok") == "ok"


@confined
def test_pod_cannot_signal_processes_that_are_not_its_own(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, pod("p", SLEEP), namespace)
    cluster.running(namespace, "p")
    for pid in (cluster.keeper(), cluster.programs["node"].pid):
        assert not cluster.exec(namespace, "p", "kill", "-0", str(pid)).ok


def test_host_path_is_refused_with_a_cure(cluster: Cluster, namespace: str) -> None:
    made = pod("p", SLEEP)
    made["spec"]["volumes"] = [{"name": "etc", "hostPath": {"path": "/etc"}}]
    cluster.create(PODS, made, namespace)
    text = "hostPath /etc is not shared with pods"
    cluster.until(lambda: text in "".join(cluster.messages(namespace, "p")), "an event says so")


def _endpoint(cluster: Cluster) -> str:
    node = cluster.list(NODES)[0]
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    return f"https://127.0.0.1:{port}"


async def _ask(url: str, context: ssl.SSLContext) -> int:
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        return answer.status


def test_node_endpoint_asks_for_a_certificate(cluster: Cluster) -> None:
    context = ssl.create_default_context(cafile=str(cluster.server.ca))
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        cluster.run(_ask(f"{_endpoint(cluster)}/healthz", context))


@pytest.mark.parametrize(
    ("group", "status"), [("dev", 403), ("system:masters", 200)], ids=["tenant", "apiserver"]
)
def test_node_endpoint_answers_the_api_server_alone(
    cluster: Cluster, group: str, status: int
) -> None:
    from .certificate import issue

    pair = issue(cluster.state / "pki", "somebody", group)
    context = ssl.create_default_context(cafile=str(cluster.server.ca))
    context.load_cert_chain(pair)
    assert cluster.run(_ask(f"{_endpoint(cluster)}/healthz", context)) == status
