"""Defaults that depend on other fields, one function per definition."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from labsandbox.quantity import canonical, parse

Json = dict[str, Any]
API = "io.k8s.api."
RBAC_GROUP = "rbac.authorization.k8s.io"
APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
RULES: dict[str, Callable[[Json], None]] = {}
MILLI = 10**6


def _rule(*names: str) -> Callable[[Callable[[Json], None]], Callable[[Json], None]]:
    def add(function: Callable[[Json], None]) -> Callable[[Json], None]:
        for name in names:
            RULES[name if name.startswith("io.") else API + name] = function
        return function

    return add


def _round(amounts: Json) -> None:
    """Round up to thousandths, the finest step of a resource list."""
    for name, text in amounts.items():
        if text[-1:] in ("n", "u"):
            found = parse(text)
            amounts[name] = canonical(-(-found.nano // MILLI) * MILLI, found.notation)


@_rule("core.v1.ResourceRequirements", "core.v1.VolumeResourceRequirements")
def _resources(obj: Json) -> None:
    for name in ("limits", "requests"):
        if obj.get(name):
            _round(obj[name])


@_rule("core.v1.Pod")
def _pod(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.setdefault("resources", {})
        limits = resources.get("limits")
        if limits:
            requests = resources.setdefault("requests", {})
            for name, amount in limits.items():
                requests.setdefault(name, amount)
    spec.setdefault("enableServiceLinks", True)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    if spec.get("hostNetwork"):
        _host_ports(spec)


@_rule("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement")
def _selector_row(obj: Json) -> None:
    """An empty list is none, except where a message is going to show it."""
    if not obj.get("values") and obj.get("operator") not in ("In", "NotIn"):
        obj.pop("values", None)


@_rule("core.v1.Secret")
def _secret(obj: Json) -> None:
    # stringData is write-only: it wins over data, and no answer ever shows it.
    for name, text in (obj.pop("stringData", None) or {}).items():
        data = obj["data"] = obj.get("data") or {}
        data[name] = base64.b64encode(text.encode()).decode()


def _host_ports(spec: Json) -> None:
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for port in container.get("ports", ()):
            if not port.get("hostPort") and port.get("containerPort"):
                port["hostPort"] = port["containerPort"]


@_rule("core.v1.PodSpec")
def _pod_spec(obj: Json) -> None:
    if obj.get("hostNetwork"):
        _host_ports(obj)
    if obj.get("overhead"):
        _round(obj["overhead"])
    account = obj.get("serviceAccountName") or obj.get("serviceAccount")
    if account:
        obj["serviceAccountName"] = obj["serviceAccount"] = account


def image_tag(image: str) -> str:
    """The tag of an image reference: `latest` when it names neither tag nor digest."""
    name, _, digest = image.partition("@")
    last = name.rsplit("/", 1)[-1]
    if ":" in last:
        return last.rsplit(":", 1)[1]
    return "" if digest else "latest"


@_rule("core.v1.Container", "core.v1.EphemeralContainer")
def _container(obj: Json) -> None:
    if not obj.get("imagePullPolicy"):
        image = obj.get("image", "")
        is_latest = image_tag(image) == "latest"
        obj["imagePullPolicy"] = "Always" if is_latest else "IfNotPresent"


@_rule("core.v1.ImageVolumeSource")
def _image_volume(obj: Json) -> None:
    if not obj.get("pullPolicy"):
        is_latest = image_tag(obj.get("reference", "")) == "latest"
        obj["pullPolicy"] = "Always" if is_latest else "IfNotPresent"


@_rule("core.v1.Volume")
def _volume(obj: Json) -> None:
    if not any(name != "name" for name in obj):
        obj["emptyDir"] = {}


@_rule("core.v1.Namespace")
def _namespace(obj: Json) -> None:
    metadata = obj.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


@_rule("core.v1.NodeSpec")
def _node_spec(obj: Json) -> None:
    """podCIDR is the first of podCIDRs; the single one wins where they differ."""
    first, several = obj.get("podCIDR") or "", obj.get("podCIDRs") or []
    if first and (not several or several[0] != first):
        obj["podCIDRs"] = [first]
    elif several and not first:
        obj["podCIDR"] = several[0]


@_rule("core.v1.NodeStatus")
def _node_status(obj: Json) -> None:
    if obj.get("capacity") and not obj.get("allocatable"):
        obj["allocatable"] = dict(obj["capacity"])
    for name in ("capacity", "allocatable"):
        if obj.get(name):
            _round(obj[name])


@_rule("core.v1.PersistentVolumeSpec")
def _volume_spec(obj: Json) -> None:
    if obj.get("capacity"):
        _round(obj["capacity"])


@_rule("core.v1.ResourceQuotaSpec")
def _quota(obj: Json) -> None:
    if obj.get("hard"):
        _round(obj["hard"])


@_rule("core.v1.ResourceQuotaStatus")
def _quota_status(obj: Json) -> None:
    for name in ("hard", "used"):
        if obj.get(name):
            _round(obj[name])


@_rule("core.v1.LimitRangeItem")
def _limit_range_item(obj: Json) -> None:
    for name in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
        if obj.get(name):
            _round(obj[name])
    if obj.get("type") != "Container":
        return
    default = dict(obj.get("default") or {})
    for name, amount in (obj.get("max") or {}).items():
        default.setdefault(name, amount)
    request = dict(obj.get("defaultRequest") or {})
    for name, amount in (*default.items(), *(obj.get("min") or {}).items()):
        request.setdefault(name, amount)
    if default:
        obj["default"] = default
    if request:
        obj["defaultRequest"] = request


@_rule("core.v1.ReplicationController")
def _replication_controller(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not obj.setdefault("metadata", {}).get("labels"):
            obj["metadata"]["labels"] = dict(labels)


@_rule("core.v1.Service")
def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    kind = spec.get("type") or "ClusterIP"
    if spec.get("sessionAffinity") == "ClientIP":
        config = spec.get("sessionAffinityConfig")
        if not config or (config.get("clientIP") or {}).get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    elif not spec.get("sessionAffinity") or spec.get("sessionAffinity") == "None":
        spec.pop("sessionAffinityConfig", None)
    for port in spec.get("ports") or ():
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    is_outside = kind in ("NodePort", "LoadBalancer") or (
        kind == "ClusterIP" and bool(spec.get("externalIPs"))
    )
    if is_outside and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        balancer = (obj.get("status") or {}).get("loadBalancer") or {}
        for ingress in balancer.get("ingress") or ():
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")


@_rule("apps.v1.DeploymentSpec")
def _deployment(obj: Json) -> None:
    strategy = obj.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


@_rule("apps.v1.DaemonSet")
def _template_generation(obj: Json) -> None:
    # Servers keep a number and show it as an annotation; whoever writes the object owns that.
    metadata = obj.setdefault("metadata", {})
    annotations = metadata["annotations"] = metadata.get("annotations") or {}
    annotations.setdefault("deprecated.daemonset.template.generation", "0")


@_rule("apps.v1.DaemonSetSpec")
def _daemon_set(obj: Json) -> None:
    strategy = obj.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


@_rule("apps.v1.StatefulSetSpec")
def _stateful_set(obj: Json) -> None:
    strategy = obj.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
    for claim in obj.get("volumeClaimTemplates") or ():
        claim["kind"] = "PersistentVolumeClaim"
        claim["apiVersion"] = "v1"


@_rule("batch.v1.Job")
def _job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    if "backoffLimit" not in spec:
        spec["backoffLimit"] = 2**31 - 1 if "backoffLimitPerIndex" in spec else 6
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not obj.setdefault("metadata", {}).get("labels"):
        obj["metadata"]["labels"] = dict(labels)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    failed_only = "podFailurePolicy" in spec
    spec.setdefault("podReplacementPolicy", "Failed" if failed_only else "TerminatingOrFailed")


@_rule("rbac.v1.Subject")
def _subject(obj: Json) -> None:
    if not obj.get("apiGroup") and obj.get("kind") in ("User", "Group"):
        obj["apiGroup"] = RBAC_GROUP


@_rule("networking.v1.NetworkPolicySpec")
def _network_policy(obj: Json) -> None:
    if not obj.get("policyTypes"):
        obj["policyTypes"] = ["Ingress", "Egress"] if obj.get("egress") else ["Ingress"]


@_rule("autoscaling.v2.HorizontalPodAutoscaler")
def _autoscaler(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior:
        up = behavior.setdefault("scaleUp", {})
        up.setdefault("stabilizationWindowSeconds", 0)
        _scaling(up, [("Pods", 4), ("Percent", 100)])
        down = behavior.setdefault("scaleDown", {})
        _scaling(down, [("Percent", 100)])


def _scaling(rules: Json, policies: list[tuple[str, int]]) -> None:
    rules.setdefault("selectPolicy", "Max")
    if not rules.get("policies"):
        rules["policies"] = [
            {"type": kind, "value": value, "periodSeconds": 15} for kind, value in policies
        ]


@_rule(APIEXTENSIONS + "CustomResourceDefinition")
def _custom_resource_definition(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    if not names.get("singular") and kind:
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = kind + "List"
    status = obj.setdefault("status", {})
    if not status.get("storedVersions"):
        stored = [row["name"] for row in spec.get("versions") or () if row.get("storage")]
        status["storedVersions"] = stored[:1] or None
