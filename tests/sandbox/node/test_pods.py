"""Pods through a real API server: what a user of kubectl sees."""

from __future__ import annotations

import pytest

from labsandbox.client import ApiError
from labsandbox.client.resources import CONFIGMAPS, PODS, SECRETS, SERVICES
from labsandbox.node import processes
from tests.sandbox.cluster import Cluster, pod

pytestmark = pytest.mark.sandbox

SLEEP = "sleep 1000"


def test_pod_runs_with_its_events_and_goes(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, pod("p", f"echo hello; {SLEEP}"), namespace)
    running = cluster.running(namespace, "p")
    assert running["status"]["podIP"].startswith("10.244.")
    cluster.until(
        lambda: cluster.reasons(namespace, "p") == ["Scheduled", "Pulled", "Created", "Started"],
        "the four events are there",
    )
    cluster.until(lambda: cluster.logs(namespace, "p") == "hello\n", "the log is there")
    cluster.delete(PODS, "p", namespace)
    cluster.gone(PODS, "p", namespace)
    folder = cluster.state / "node" / "pods" / running["metadata"]["uid"]
    cluster.until(lambda: not folder.exists(), "the folder is gone")


def test_log_tail_timestamps_and_follow(cluster: Cluster, namespace: str) -> None:
    script = "for n in 1 2 3; do echo line $n; done; until [ -e go ]; do sleep 0.05; done; echo end"
    cluster.create(PODS, pod("p", script, restartPolicy="Never"), namespace)
    cluster.until(lambda: "line 3" in cluster.logs(namespace, "p"), "three lines")
    last = cluster.logs(namespace, "p", tailLines=1, timestamps="true")
    assert last.endswith("Z line 3\n")
    assert cluster.logs(namespace, "p", limitBytes=4) == "line"
    cluster.shell(namespace, "p", "touch go")
    assert cluster.logs(namespace, "p", follow="true").endswith("line 3\nend\n")


def test_exec_passes_input_streams_and_exit_code(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, pod("p", SLEEP), namespace)
    cluster.running(namespace, "p")
    done = cluster.exec(namespace, "p", "sh", "-c", "cat; echo oops >&2; exit 3", stdin=b"abc")
    assert (done.stdout, done.stderr, done.exit_code) == (b"abc", b"oops\n", 3)
    big = b"x" * 3_000_000
    assert cluster.exec(namespace, "p", "cat", stdin=big).stdout == big
    left = cluster.exec(namespace, "p", "sh", "-c", "sleep 1000 & echo started")
    assert left.stdout == b"started\n"
    with pytest.raises(ApiError, match="executable file not found"):
        cluster.exec(namespace, "p", "no-such-program")


def test_what_an_exec_left_behind_ends_with_its_container(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, pod("p", SLEEP), namespace)
    cluster.running(namespace, "p")
    script = "setsid sleep 987 > /dev/null 2>&1 < /dev/null & echo $!"
    left = int(cluster.exec(namespace, "p", "sh", "-c", script).stdout)
    assert processes.start_time(left) is not None
    cluster.delete(PODS, "p", namespace)
    cluster.gone(PODS, "p", namespace)
    cluster.until(lambda: processes.start_time(left) is None, "it has ended")


def test_environment_and_volumes_come_from_the_api(cluster: Cluster, namespace: str) -> None:
    cluster.create(CONFIGMAPS, {"metadata": {"name": "m"}, "data": {"k": "v1"}}, namespace)
    cluster.create(SECRETS, {"metadata": {"name": "s"}, "data": {"pw": "czNjcmV0"}}, namespace)
    container = {
        "env": [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}}],
        "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "M_"}],
        "args": ["$(M_k)"],
        "resources": {"limits": {"memory": "100Mi"}},
        "volumeMounts": [{"name": "m", "mountPath": "/etc/m"}, {"name": "e", "mountPath": "/data"}],
    }
    made = pod("p", **container)
    made["spec"]["containers"][0]["command"] = [
        "sh",
        "-c",
        f"echo $0 $PW $POD_MEMORY_LIMIT; {SLEEP}",
    ]
    made["spec"]["volumes"] = [
        {"name": "m", "configMap": {"name": "m"}},
        {"name": "e", "emptyDir": {}},
    ]
    cluster.create(PODS, made, namespace)
    cluster.running(namespace, "p")
    cluster.until(
        lambda: cluster.logs(namespace, "p") == "v1 s3cret 104857600\n", "the log is right"
    )
    cluster.patch(CONFIGMAPS, "m", namespace, {"data": {"k": "v2"}})
    cluster.until(
        lambda: cluster.shell(namespace, "p", "cat $POD_ROOT/etc/m/k") == "v2",
        "the change has reached the running pod",
    )
    token = "head -c 3 $POD_ROOT/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert cluster.shell(namespace, "p", token) == "eyJ"
    assert cluster.shell(namespace, "p", "touch $POD_ROOT/data/x && echo ok") == "ok"
    refusal = cluster.shell(namespace, "p", "touch $POD_ROOT/etc/m/x")
    assert refusal.endswith(("Read-only file system", "Permission denied")), refusal


def test_missing_configmap_is_explained_and_then_found(cluster: Cluster, namespace: str) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}]
    cluster.create(PODS, pod("p", f"echo $A; {SLEEP}", env=env), namespace)
    found = cluster.container(
        namespace,
        "p",
        lambda c: c["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError",
    )
    assert found["state"]["waiting"]["message"] == 'configmap "later" not found'
    cluster.create(CONFIGMAPS, {"metadata": {"name": "later"}, "data": {"a": "now"}}, namespace)
    cluster.running(namespace, "p")
    cluster.until(lambda: cluster.logs(namespace, "p") == "now\n", "it runs")


def test_unknown_image_lists_the_known_ones(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, pod("p", image="mysql:8"), namespace)
    found = cluster.container(
        namespace,
        "p",
        lambda c: (
            c["state"].get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff")
        ),
    )
    assert "busybox:*" in found["state"]["waiting"]["message"]
    cluster.until(lambda: "Failed" in cluster.reasons(namespace, "p"), "an event says so")
    with pytest.raises(ApiError, match='"c" in pod "p" is waiting to start: trying and failing'):
        cluster.run(cluster.client.request("GET", f"/api/v1/namespaces/{namespace}/pods/p/log"))


def test_pods_with_an_unknown_image_go_at_once(cluster: Cluster, namespace: str) -> None:
    """A pod that leaves while it waits for its image neither stays nor stops anybody else."""
    names = ["a", "b", "c"]
    for name in names:
        cluster.create(PODS, pod(name, image="nginx:1.25"), namespace)
    for name in names:
        cluster.container(
            namespace,
            name,
            lambda c: c["state"].get("waiting", {}).get("reason") == "ImagePullBackOff",
        )
    for name in names:
        cluster.delete(PODS, name, namespace)
    for name in names:
        cluster.gone(PODS, name, namespace)
    cluster.create(PODS, pod("after", "sleep 60"), namespace)
    cluster.running(namespace, "after")


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        (["/no/such"], 127, "no such file"),
        (["nope"], 127, "not found in $PATH"),
        (["/etc"], 126, ""),
    ],
)
def test_program_that_cannot_run_says_why(
    cluster: Cluster, namespace: str, command: list[str], code: int, text: str
) -> None:
    cluster.create(PODS, pod("p", command=command, restartPolicy="Never"), namespace)
    state = cluster.phase(namespace, "p", "Failed")["status"]["containerStatuses"][0]["state"]
    assert state["terminated"]["reason"] == "ContainerCannotRun"
    assert state["terminated"]["exitCode"] == code
    assert text in state["terminated"]["message"]


def test_crash_loop_backs_off_and_keeps_the_previous_log(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, pod("p", "echo run; exit 3"), namespace)
    found = cluster.container(
        namespace, "p", lambda c: c["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    assert found["lastState"]["terminated"]["exitCode"] == 3
    assert found["lastState"]["terminated"]["reason"] == "Error"
    assert found["state"]["waiting"]["message"].startswith(
        "back-off 10s restarting failed container=c"
    )
    assert cluster.logs(namespace, "p", previous="true") == "run\n"
    cluster.until(lambda: "BackOff" in cluster.reasons(namespace, "p"), "an event says so")


@pytest.mark.parametrize(
    ("script", "policy", "phase"),
    [
        ("exit 0", "Never", "Succeeded"),
        ("exit 4", "Never", "Failed"),
        ("exit 0", "OnFailure", "Succeeded"),
    ],
)
def test_pod_that_ends_has_a_phase(
    cluster: Cluster, namespace: str, script: str, policy: str, phase: str
) -> None:
    cluster.create(PODS, pod("p", script, restartPolicy=policy), namespace)
    cluster.phase(namespace, "p", phase)


def test_init_containers_run_first_and_share_volumes(cluster: Cluster, namespace: str) -> None:
    mount = [{"name": "v", "mountPath": "/v"}]
    made = pod("p", f"cat $POD_ROOT/v/f; {SLEEP}", volumeMounts=mount)
    made["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    made["spec"]["initContainers"] = [
        {
            "name": f"i{n}",
            "image": "busybox",
            "command": ["sh", "-c", f"echo {n} >> $POD_ROOT/v/f"],
            "volumeMounts": mount,
        }
        for n in (1, 2)
    ]
    cluster.create(PODS, made, namespace)
    cluster.running(namespace, "p")
    cluster.until(lambda: cluster.logs(namespace, "p", container="c") == "1\n2\n", "both ran")


def test_probes_make_ready_and_restart(cluster: Cluster, namespace: str) -> None:
    probes = {
        "startupProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
        "readinessProbe": {
            "exec": {"command": ["sh", "-c", "test -e $POD_ROOT/ready"]},
            "periodSeconds": 1,
        },
        "livenessProbe": {
            "exec": {"command": ["sh", "-c", "! test -e $POD_ROOT/sick"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
    }
    cluster.create(PODS, pod("p", SLEEP, **probes), namespace)
    cluster.running(namespace, "p", ready=False)
    cluster.until(
        lambda: any("Readiness probe failed" in m for m in cluster.messages(namespace, "p")),
        "the probe's failure is told",
    )
    cluster.shell(namespace, "p", "touch $POD_ROOT/ready")
    cluster.running(namespace, "p")
    cluster.shell(namespace, "p", "touch $POD_ROOT/sick")
    cluster.container(namespace, "p", lambda c: c["restartCount"] == 1)
    cluster.until(
        lambda: (
            "Container c failed liveness probe, will be restarted"
            in cluster.messages(namespace, "p")
        ),
        "the restart is explained",
    )


def test_http_and_tcp_probes_reach_the_pods_own_address(cluster: Cluster, namespace: str) -> None:
    made = pod(
        "p",
        image="python:3.11",
        args=["python", "-m", "http.server", "8000", "--bind", "$(POD_LISTEN_IP)"],
        ports=[{"containerPort": 8000, "name": "web"}],
        readinessProbe={"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 1},
        livenessProbe={"tcpSocket": {"port": 8000}, "periodSeconds": 1, "initialDelaySeconds": 2},
    )
    cluster.create(PODS, made, namespace)
    cluster.running(namespace, "p")


def test_memory_limit_ends_the_one_who_eats(cluster: Cluster, namespace: str) -> None:
    eat = "x = bytearray(300_000_000); import time; time.sleep(1000)"
    limits = {"limits": {"memory": "100Mi"}}
    made = pod("p", image="python:3.11", args=["python", "-c", eat], resources=limits)
    made["spec"]["restartPolicy"] = "Never"
    cluster.create(PODS, made, namespace)
    ended = cluster.phase(namespace, "p", "Failed")["status"]["containerStatuses"][0]["state"]
    assert ended["terminated"]["reason"] == "OOMKilled"
    assert ended["terminated"]["exitCode"] == 137


def test_deletion_runs_the_hook_and_then_insists(cluster: Cluster, namespace: str) -> None:
    repository = cluster.state / "projects" / namespace
    hook = {"exec": {"command": ["sh", "-c", "echo hook >> $PROJECT_REPO/order"]}}
    script = "trap 'echo term >> $PROJECT_REPO/order' TERM; echo up; while true; do sleep 0.1; done"
    cluster.create(PODS, pod("p", script, lifecycle={"preStop": hook}), namespace)
    cluster.until(lambda: "up" in cluster.logs(namespace, "p"), "it is up")
    cluster.delete(PODS, "p", namespace)
    cluster.gone(PODS, "p", namespace)
    assert (repository / "order").read_text().split() == ["hook", "term"]


def test_names_of_pods_and_services_resolve_in_pods(cluster: Cluster, namespace: str) -> None:
    service = {
        "metadata": {"name": "web"},
        "spec": {"clusterIP": "None", "selector": {"app": "p"}, "ports": [{"port": 8000}]},
    }
    cluster.create(SERVICES, service, namespace)
    arguments = ["python", "-m", "http.server", "8000", "--bind", "$(POD_LISTEN_IP)"]
    probe = {"httpGet": {"port": 8000}, "periodSeconds": 1}
    made = pod("p", image="python:3", args=arguments, readinessProbe=probe)
    made["spec"] |= {"hostname": "first", "subdomain": "web"}
    cluster.create(PODS, made, namespace)
    cluster.running(namespace, "p")
    for name in (f"web.{namespace}.svc.cluster.local", f"first.web.{namespace}.svc.cluster.local"):
        program = f"import urllib.request as u; print(u.urlopen('http://{name}:8000/').status)"
        look = f'python -c "{program}"'
        cluster.until(lambda look=look: cluster.shell(namespace, "p", look) == "200", "it resolves")
        got = cluster.shell(
            namespace, "p", f"curl -s -o /dev/null -w '%{{http_code}}' http://{name}:8000/"
        )
        assert got == "200"


def test_pod_that_does_not_fit_waits_with_an_explanation(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, pod("p", SLEEP, resources={"requests": {"cpu": "1000"}}), namespace)
    text = "0/1 nodes are available: 1 Insufficient cpu."
    cluster.until(
        lambda: any(m.startswith(text) for m in cluster.messages(namespace, "p")),
        "an event says so",
    )
    cluster.delete(PODS, "p", namespace)
    cluster.gone(PODS, "p", namespace)
