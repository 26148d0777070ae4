"""Protobuf bodies: what kubectl sends is read, what is broken is refused, nothing else happens."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labsandbox.apiserver.protobuf import MAGIC, Malformed, Unencodable, decode, encode

pytestmark = pytest.mark.fast

# Sent by kubectl 1.32: `create namespace kt` and `create configmap c2 --from-literal=x=1`.
NAMESPACE = (
    b'k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x1a\n\x12\n\x02kt\x12\x00\x1a\x00"\x00*\x002\x008\x00'
    b'B\x00\x12\x00\x1a\x02\n\x00\x1a\x00"\x00'
)
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "ns", "labels": {"app": "web"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "nginx",
                        "env": [
                            {"name": "A", "value": "1"},
                            {
                                "name": "B",
                                "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}},
                            },
                        ],
                        "ports": [{"containerPort": 80}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
                        "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                    }
                ],
                "volumes": [
                    {"name": "e", "emptyDir": {}},
                    {"name": "s", "secret": {"secretName": "x", "optional": False}},
                ],
            },
        },
    },
}


def test_protobuf_namespace_as_kubectl_sends_it() -> None:
    assert decode(NAMESPACE) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "kt"},
        "spec": {},
        "status": {},
    }


@pytest.mark.parametrize(
    "document",
    [
        DEPLOYMENT,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"p": "cQ=="}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s"},
            "spec": {"ports": [{"name": "a", "port": 80, "targetPort": "http"}]},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": "p"},
            "deleteOptions": {"gracePeriodSeconds": 0, "propagationPolicy": "Background"},
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
                "maxReplicas": 3,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ],
            },
        },
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "l", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"holderIdentity": "me", "renewTime": "2026-01-02T03:04:05.000006Z"},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "b"},
            "spec": {"minAvailable": 0},
        },
    ],
    ids=lambda document: document["kind"],
)
def test_protobuf_documents_survive_a_round_trip(document: dict[str, Any]) -> None:
    assert decode(encode(document)) == document


def test_protobuf_list_encodes_its_items() -> None:
    items = [{"metadata": {"name": name}} for name in ("a", "b")]
    raw = encode({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {}, "items": items})
    assert raw.startswith(MAGIC)
    assert raw.count(b"\n\x01a") == raw.count(b"\n\x01b") == 1


def test_protobuf_unknown_kind_cannot_be_encoded() -> None:
    with pytest.raises(Unencodable, match="Widget"):
        encode({"apiVersion": "ex.io/v1", "kind": "Widget"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "does not appear to be a protobuf message"),
        (NAMESPACE[:-9], "unexpected EOF"),
        (MAGIC + b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "integer overflow"),
        (MAGIC + b"\x0b", "illegal wireType 3"),
        (MAGIC, 'no kind "" is registered'),
        (NAMESPACE.replace(b"Namespace", b"Nonesuch1"), 'no kind "Nonesuch1"'),
    ],
)
def test_protobuf_broken_body_is_malformed(body: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        decode(body)


@given(st.binary(max_size=300), st.sampled_from([b"", NAMESPACE, encode(DEPLOYMENT)]))
def test_protobuf_any_bytes_are_read_or_malformed(noise: bytes, start: bytes) -> None:
    for body in (MAGIC + noise, start[: len(start) // 2] + noise, start + noise):
        with contextlib.suppress(Malformed):
            assert isinstance(decode(body), dict)


@given(st.integers(0, 600), st.integers(0, 255))
def test_protobuf_a_changed_byte_is_read_or_malformed(place: int, value: int) -> None:
    body = bytearray(encode(DEPLOYMENT))
    body[place % len(body)] = value
    with contextlib.suppress(Malformed):
        decode(bytes(body))
