"""The commands of kubectl that change objects, wait for them and delete them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.clients.kubectl import Kubectl

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]


def config_map(**data: str) -> str:
    """A manifest of a ConfigMap."""
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
    )


def deployment(image: str, **spec: Any) -> str:
    """A manifest of a Deployment."""
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image, "ports": [{"containerPort": 80}]}]},
    }
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
        }
    )


def test_kubectl_applies_and_applies_again(kubectl: Kubectl) -> None:
    assert kubectl.ok("apply", "-f", "-", text=deployment("i:1")).strip().endswith(" created")
    assert kubectl.ok("apply", "-f", "-", text=deployment("i:1")).strip().endswith(" unchanged")
    assert kubectl.ok("apply", "-f", "-", text=deployment("i:2")).strip().endswith(" configured")
    path = "jsonpath={.spec.template.spec.containers[*].image}"
    assert kubectl.ok("get", "deployment", "web", "-o", path) == "i:2"
    dry = kubectl.ok("apply", "--dry-run=server", "-f", "-", text=deployment("i:3"))
    assert dry.strip().endswith("configured (server dry run)")
    assert kubectl.ok("get", "deployment", "web", "-o", path) == "i:2"


def test_kubectl_apply_prunes_what_the_manifest_dropped(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", text=config_map(a="1", b="2"))
    kubectl.ok("apply", "-f", "-", text=config_map(b="3"))
    assert json.loads(kubectl.ok("get", "cm", "c", "-o", "jsonpath={.data}")) == {"b": "3"}


def test_kubectl_server_side_apply_tells_conflicts(kubectl: Kubectl) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    kubectl.ok(*apply, text=config_map(a="1"))
    assert "serverside-applied" in kubectl.ok(*apply, text=config_map(a="1"))
    complaint = kubectl.fails(*apply, "--field-manager=other", text=config_map(a="2"))
    assert 'conflict with "kubectl": .data.a' in complaint
    kubectl.ok(*apply, "--field-manager=other", "--force-conflicts", text=config_map(a="2"))
    assert kubectl.ok("get", "cm", "c", "-o", "jsonpath={.data.a}") == "2"


def test_kubectl_server_side_apply_takes_over_from_client_side(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", text=deployment("i:1"))
    kubectl.ok("apply", "--server-side", "-f", "-", text=deployment("i:2"))
    fields = json.loads(
        kubectl.ok("get", "deployment", "web", "-o", "json", "--show-managed-fields")
    )["metadata"]["managedFields"]
    assert any(one["operation"] == "Apply" and one["manager"] == "kubectl" for one in fields)


def test_kubectl_diff_shows_the_change(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", text=config_map(a="1"))
    assert kubectl.run("diff", "-f", "-", text=config_map(a="1")).code == 0
    changed = kubectl.run("diff", "-f", "-", text=config_map(a="2"))
    assert changed.code == 1
    assert '+  a: "2"' in changed.out


def test_kubectl_edits(kubectl: Kubectl) -> None:
    kubectl.ok("create", "configmap", "c", "--from-literal=a=1")
    answer = kubectl.edit('sed -i "s/a: .*/a: edited/" "$1"', "configmap", "c")
    assert answer.strip() == "configmap/c edited"
    assert kubectl.ok("get", "cm", "c", "-o", "jsonpath={.data.a}") == "edited"


def test_kubectl_patches_in_three_languages(kubectl: Kubectl) -> None:
    kubectl.ok("create", "configmap", "c", "--from-literal=a=1")
    kubectl.ok("patch", "cm", "c", "-p", '{"data":{"b":"2"}}')
    kubectl.ok("patch", "cm", "c", "--type=merge", "-p", '{"data":{"a":null,"d":"4"}}')
    operation = '[{"op":"add","path":"/data/e","value":"5"}]'
    kubectl.ok("patch", "cm", "c", "--type=json", "-p", operation)
    data = json.loads(kubectl.ok("get", "cm", "c", "-o", "jsonpath={.data}"))
    assert data == {"b": "2", "d": "4", "e": "5"}
    unchanged = kubectl.ok("patch", "cm", "c", "-p", '{"data":{"b":"2"}}')
    assert unchanged.strip() == "configmap/c patched (no change)"


def test_kubectl_replaces(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", text=config_map(a="1"))
    assert (
        kubectl.ok("replace", "-f", "-", text=config_map(a="2")).strip() == "configmap/c replaced"
    )
    kubectl.ok("replace", "--force", "-f", "-", text=config_map(a="3"))
    assert kubectl.ok("get", "cm", "c", "-o", "jsonpath={.data.a}") == "3"


def test_kubectl_labels_and_annotates(kubectl: Kubectl) -> None:
    kubectl.ok("create", "configmap", "c")
    assert kubectl.ok("label", "cm", "c", "x=y").strip() == "configmap/c labeled"
    assert "already has a value" in kubectl.fails("label", "cm", "c", "x=z")
    kubectl.ok("label", "cm", "c", "x=z", "--overwrite")
    kubectl.ok("label", "cm", "c", "x-")
    kubectl.ok("annotate", "cm", "c", "note=1")
    metadata = json.loads(kubectl.ok("get", "cm", "c", "-o", "jsonpath={.metadata}"))
    assert "labels" not in metadata
    assert metadata["annotations"] == {"note": "1"}


def test_kubectl_scales_and_rolls_out(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", text=deployment("i:1"))
    assert kubectl.ok("scale", "deployment", "web", "--replicas=3").strip().endswith(" scaled")
    complaint = kubectl.fails("scale", "deployment", "web", "--current-replicas=9", "--replicas=1")
    assert "Expected replicas to be 9, was 3" in complaint
    kubectl.ok("set", "image", "deployment/web", "c=i:2")
    kubectl.ok("set", "env", "deployment/web", "A=1")
    kubectl.ok("rollout", "restart", "deployment/web")
    kubectl.ok("rollout", "pause", "deployment/web")
    kubectl.ok("rollout", "resume", "deployment/web")
    found = json.loads(kubectl.ok("get", "deployment", "web", "-o", "json"))
    assert found["spec"]["replicas"] == 3
    assert found["metadata"]["generation"] == 7
    status = {
        "observedGeneration": 7,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "conditions": [{"type": "Available", "status": "True"}],
    }
    patch = json.dumps({"status": status})
    kubectl.ok("patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", patch)
    told = kubectl.ok("rollout", "status", "deployment/web", "--timeout=10s")
    assert "successfully rolled out" in told
    assert "3/3" in kubectl.ok("get", "deployment", "web")
    kubectl.ok("wait", "--for=condition=Available", "deployment/web", "--timeout=10s")


def test_kubectl_wait_times_out_and_meets_conditions(kubectl: Kubectl) -> None:
    kubectl.ok("run", "p", "--image=busybox")
    complaint = kubectl.fails("wait", "--for=condition=Ready", "pod/p", "--timeout=1s")
    assert "timed out waiting for the condition" in complaint
    patch = '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}'
    kubectl.ok("patch", "pod", "p", "--subresource=status", "--type=merge", "-p", patch)
    kubectl.ok("wait", "--for=condition=Ready", "pod/p", "--timeout=10s")
    kubectl.ok("wait", "--for=jsonpath={.status.phase}=Running", "pod/p", "--timeout=10s")


def test_kubectl_deletes_and_waits(kubectl: Kubectl) -> None:
    kubectl.ok("create", "configmap", "c", "--from-literal=a=1")
    assert 'configmap "c" deleted' in kubectl.ok("delete", "configmap", "c")
    assert "NotFound" in kubectl.fails("delete", "configmap", "c")
    kubectl.ok("run", "p", "--image=busybox")
    assert 'pod "p" deleted' in kubectl.ok("delete", "pod", "p", "--wait=true")
    kubectl.ok("run", "q", "--image=busybox", "--labels=x=y")
    assert 'pod "q" ' in kubectl.ok("delete", "pods", "-l", "x=y", "--now")
    kubectl.ok("create", "configmap", "d")
    assert 'configmap "d" deleted' in kubectl.ok("delete", "configmaps", "--all")
