"""`kubectl create` and its relatives, in protobuf since 1.32 and in JSON before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.sandbox.clients.kubectl import Kubectl

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]

CREATE = [
    ("configmap c --from-literal=x=1", "configmap/c created"),
    ("secret generic s --from-literal=p=q", "secret/s created"),
    ("deployment d --image=nginx --replicas=2", "deployment.apps/d created"),
    ("job j --image=busybox -- true", "job.batch/j created"),
    ("cronjob n --image=busybox --schedule=@daily -- true", "cronjob.batch/n created"),
    ("serviceaccount a", "serviceaccount/a created"),
    ("role r --verb=get,list --resource=pods", "role.rbac.authorization.k8s.io/r created"),
    ("rolebinding b --role=r --user=u", "rolebinding.rbac.authorization.k8s.io/b created"),
    ("quota q --hard=pods=10,cpu=2", "resourcequota/q created"),
    (
        "poddisruptionbudget p --selector=a=b --min-available=1",
        "poddisruptionbudget.policy/p created",
    ),
    ("ingress i --rule=a.example/x=web:80", "ingress.networking.k8s.io/i created"),
    ("service clusterip web --tcp=80:8080", "service/web created"),
    ("service nodeport np --tcp=80:8080", "service/np created"),
    ("service externalname en --external-name=a.example", "service/en created"),
]


def test_kubectl_creates_each_kind(kubectl: Kubectl) -> None:
    for command, answer in CREATE:
        assert kubectl.ok("create", *command.split()).strip() == answer
    deployment = json.loads(
        kubectl.ok("get", "deployment", "d", "-o", "json", "--show-managed-fields")
    )
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == "25%"
    assert deployment["metadata"]["managedFields"][0]["manager"] == "kubectl-create"
    service = json.loads(kubectl.ok("get", "service", "web", "-o", "json"))
    assert service["spec"]["ports"][0]["targetPort"] == 8080
    assert service["spec"]["clusterIP"].startswith("10.")
    secret = json.loads(kubectl.ok("get", "secret", "s", "-o", "json"))
    assert secret["data"] == {"p": "cQ=="}
    assert secret["type"] == "Opaque"
    ingress = json.loads(kubectl.ok("get", "ingress", "i", "-o", "json"))
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]
    assert backend == {"service": {"name": "web", "port": {"number": 80}}}


def test_kubectl_creates_cluster_wide_kinds(admin: Kubectl, kubectl_version: str) -> None:
    name = f"v{kubectl_version}"
    assert admin.ok("create", "clusterrole", name, "--verb=get", "--resource=nodes")
    assert admin.ok("create", "clusterrolebinding", name, f"--clusterrole={name}", "--user=u")
    assert admin.ok("create", "priorityclass", name, "--value=7", "--description=seven")
    assert admin.ok("get", "priorityclass", name, "-o", "jsonpath={.value}") == "7"


def test_kubectl_create_twice_already_exists(kubectl: Kubectl) -> None:
    kubectl.ok("create", "configmap", "c")
    complaint = kubectl.fails("create", "configmap", "c")
    assert 'configmaps "c" already exists' in complaint


def test_kubectl_create_dry_run_stores_nothing(kubectl: Kubectl) -> None:
    answer = kubectl.ok("create", "configmap", "c", "--dry-run=server")
    assert answer.strip() == "configmap/c created (server dry run)"
    assert "NotFound" in kubectl.fails("get", "configmap", "c")


def test_kubectl_create_refuses_unknown_fields(kubectl: Kubectl) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\ndataa: {a: b}\n"
    complaint = kubectl.fails("create", "-f", "-", text=text)
    assert 'unknown field "dataa"' in complaint
    warned = kubectl.run("create", "--validate=warn", "-f", "-", text=text)
    assert warned.code == 0
    assert 'Warning: unknown field "dataa"' in warned.err


def test_kubectl_run_expose_and_autoscale(kubectl: Kubectl) -> None:
    assert kubectl.ok("run", "r", "--image=busybox").strip() == "pod/r created"
    kubectl.ok("create", "deployment", "d", "--image=nginx")
    assert kubectl.ok("expose", "deployment", "d", "--port=80").strip() == "service/d exposed"
    answer = kubectl.ok("autoscale", "deployment", "d", "--max=3", "--cpu-percent=80")
    assert answer.strip() == "horizontalpodautoscaler.autoscaling/d autoscaled"
    assert kubectl.ok("get", "hpa", "d", "-o", "jsonpath={.spec.maxReplicas}") == "3"


def test_kubectl_create_token_signs_in(kubectl: Kubectl) -> None:
    kubectl.ok("create", "serviceaccount", "robot")
    token = kubectl.ok("create", "token", "robot", "--duration=15m").strip()
    assert token.count(".") == 2
    bare = Kubectl(kubectl.program, _signed_in_by_token(kubectl, token), kubectl.home)
    assert f"system:serviceaccount:{kubectl.namespace}:robot" in bare.ok("auth", "whoami")
    assert "Forbidden" in bare.fails("get", "pods")


def _signed_in_by_token(kubectl: Kubectl, token: str) -> Path:
    found = yaml.safe_load(kubectl.kubeconfig.read_text())
    found["users"] = [{"name": one["name"], "user": {"token": token}} for one in found["users"]]
    file = kubectl.home / "token.conf"
    file.write_text(yaml.safe_dump(found))
    return file


def test_kubectl_auth_tells_what_one_may_do(kubectl: Kubectl) -> None:
    assert kubectl.ok("auth", "can-i", "create", "pods").strip() == "yes"
    refused = kubectl.run("auth", "can-i", "create", "pods", "--as=nobody")
    assert (refused.code, refused.out.strip()) == (1, "no")
    assert "selfsubjectreviews" in kubectl.ok("auth", "can-i", "--list", "--as=nobody")
    assert "system:masters" in kubectl.ok("auth", "whoami")
