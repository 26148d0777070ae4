"""`kubectl get` in all its forms, `describe`, `explain`, `events`, discovery."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.sandbox.clients.kubectl import Kubectl

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"app": "a"}},
    "spec": {"containers": [{"name": "c", "image": "busybox"}]},
}


def test_kubectl_discovers_what_is_served(admin: Kubectl) -> None:
    resources = admin.ok("api-resources")
    for kind in ("ConfigMap", "Deployment", "CronJob", "Ingress", "CustomResourceDefinition"):
        assert f" {kind}\n" in resources
    assert "pods\n" in admin.ok("api-resources", "--namespaced", "--verbs=list", "-o", "name")
    assert "apps/v1\n" in admin.ok("api-versions")
    assert "Server Version: v1.32" in admin.ok("version")
    assert "Kubernetes control plane" in admin.ok("cluster-info")


def test_kubectl_explains_fields(admin: Kubectl) -> None:
    text = admin.ok("explain", "pod.spec.containers")
    assert "KIND:       Pod" in text
    assert "imagePullPolicy" in text
    assert "rollingUpdate" in admin.ok("explain", "deployment", "--recursive")


def test_kubectl_gets_in_every_form(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", text=json.dumps(POD))
    kubectl.ok("create", "configmap", "c", "--from-literal=x=1")
    lines = kubectl.ok("get", "pods").splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert lines[1].split()[:4] == ["p", "0/1", "Pending", "0"]
    assert "READINESS GATES" in kubectl.ok("get", "pods", "-o", "wide")
    assert kubectl.ok("get", "pods", "-o", "name") == "pod/p\n"
    assert kubectl.ok("get", "pods", "-l", "app=a", "-o", "name") == "pod/p\n"
    assert kubectl.ok("get", "pods", "-l", "app!=a", "-o", "name") == ""
    assert kubectl.ok("get", "pods", "--field-selector=status.phase=Running", "-o", "name") == ""
    assert kubectl.ok("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].name}") == "c"
    assert kubectl.ok("get", "pods", "-o", "custom-columns=N:.metadata.name") == "N\np\n"
    assert "LABELS" in kubectl.ok("get", "pods", "--show-labels")
    assert json.loads(kubectl.ok("get", "pods", "-o", "json"))["kind"] == "List"
    assert "\nkind: ConfigMap\n" in kubectl.ok("get", "configmap", "c", "-o", "yaml")
    assert "pod/p " in kubectl.ok("get", "all")
    assert "configmap/c " in kubectl.ok("get", "configmaps,pods")
    assert kubectl.namespace in kubectl.ok("get", "pods", "--all-namespaces")
    assert "p " in kubectl.ok("get", "pods", "--server-print=false")
    assert "p " in kubectl.ok("get", "pods", "--chunk-size=1", "--all-namespaces")
    assert kubectl.ok("get", "pod", "none", "--ignore-not-found") == ""
    assert 'pods "none" not found' in kubectl.fails("get", "pod", "none")
    assert "the server doesn't have a resource type" in kubectl.fails("get", "nonesuch")
    assert kubectl.ok("get", "--raw", "/healthz") == "ok"


def test_kubectl_get_watches(kubectl: Kubectl) -> None:
    command = [kubectl.program, "--namespace", kubectl.namespace, "get", "configmaps", "--watch"]
    environment = {"HOME": str(kubectl.home), "KUBECONFIG": str(kubectl.kubeconfig)}
    kubectl.ok("create", "configmap", "first")
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert watch.stdout is not None
    try:
        assert watch.stdout.readline().split() == ["NAME", "DATA", "AGE"]
        assert watch.stdout.readline().startswith("first ")
        kubectl.ok("create", "configmap", "second", "--from-literal=a=b")
        assert watch.stdout.readline().split()[:2] == ["second", "1"]
        kubectl.ok("delete", "configmap", "second")
        assert watch.stdout.readline().split()[:2] == ["second", "1"]
    finally:
        watch.kill()
        watch.communicate()


def test_kubectl_describes_objects_and_their_events(kubectl: Kubectl) -> None:
    created = json.loads(kubectl.ok("create", "-f", "-", "-o", "json", text=json.dumps(POD)))
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "e-"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "p",
            "namespace": kubectl.namespace,
            "uid": created["metadata"]["uid"],
        },
        "reason": "Noticed",
        "message": "somebody noticed",
        "type": "Normal",
        "firstTimestamp": created["metadata"]["creationTimestamp"],
        "lastTimestamp": created["metadata"]["creationTimestamp"],
        "count": 1,
        "source": {"component": "test"},
    }
    kubectl.ok("create", "-f", "-", text=json.dumps(event))
    told = kubectl.ok("describe", "pod", "p")
    assert "Service Account:  default" in told
    assert "somebody noticed" in told
    assert "kube-api-access-" in told
    assert "pod/p" in kubectl.ok("get", "events")
    assert "somebody noticed" in kubectl.ok("events", "--for", "pod/p")
    kubectl.ok("create", "deployment", "d", "--image=nginx")
    assert "StrategyType:           RollingUpdate" in kubectl.ok("describe", "deployment", "d")
    kubectl.ok("create", "quota", "q", "--hard=pods=5")
    assert "Resource Quotas" in kubectl.ok("describe", "namespace", kubectl.namespace)
    kubectl.ok("create", "service", "clusterip", "s", "--tcp=80:80")
    assert "Endpoints" in kubectl.ok("describe", "service", "s")


def test_kubectl_tables_of_custom_resources(kubectl: Kubectl, kubectl_version: str) -> None:
    group = f"v{kubectl_version.replace('.', '-')}.example.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"boats.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "boats", "kind": "Boat", "shortNames": ["bt"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": [
                        {"name": "Sails", "type": "integer", "jsonPath": ".spec.sails"}
                    ],
                }
            ],
        },
    }
    kubectl.ok("create", "-f", "-", text=json.dumps(definition))
    kubectl.ok("wait", "--for=condition=Established", f"crd/boats.{group}", "--timeout=20s")
    boat = {
        "apiVersion": f"{group}/v1",
        "kind": "Boat",
        "metadata": {"name": "b"},
        "spec": {"sails": 2},
    }
    kubectl.ok("apply", "-f", "-", text=json.dumps(boat))
    lines = kubectl.ok("get", f"boats.{group}").splitlines()
    assert [line.split() for line in lines] == [["NAME", "SAILS"], ["b", "2"]]
    kubectl.ok("delete", "crd", f"boats.{group}")
