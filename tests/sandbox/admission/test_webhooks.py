"""Admission webhooks against a real server: who is called, who is trusted, what failures mean."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.golden.webhook import Webhook
from tests.sandbox.conftest import ApiServer

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(90)]
HOOKS = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"


class Api:
    """The administrator's HTTP session."""

    def __init__(self, server: ApiServer) -> None:
        self.url = server.url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(server.ca)
        self.session.cert = server.certificate

    def send(self, method: str, path: str, body: Any = None, **query: str) -> requests.Response:
        """Send a request."""
        return self.session.request(method, self.url + path, json=body, params=query, timeout=30)


@pytest.fixture
def api(fresh_apiserver: ApiServer) -> Iterator[Api]:
    found = Api(fresh_apiserver)
    yield found
    for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
        found.send("DELETE", f"{HOOKS}/{kind}")
    found.send("DELETE", MAPS)
    found.session.close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    found = Webhook(0)
    yield found
    found.close()


def configure(api: Api, webhook: Webhook, plural: str, name: str, **settings: Any) -> None:
    """Register a webhook for ConfigMaps."""
    kind = {"validating": "Validating", "mutating": "Mutating"}[plural]
    path = "mutate" if plural == "mutating" else "validate"
    hook = {
        "name": f"{name}.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 2,
        "clientConfig": {"url": f"https://{webhook.address}/{path}", "caBundle": webhook.bundle},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["*"],
                "resources": ["configmaps"],
            }
        ],
        **settings,
    }
    body = {"metadata": {"name": name}, "webhooks": [hook]}
    answer = api.send(
        "POST",
        f"{HOOKS}/{plural}webhookconfigurations",
        {
            **body,
            "kind": f"{kind}WebhookConfiguration",
            "apiVersion": "admissionregistration.k8s.io/v1",
        },
    )
    assert answer.status_code == 201, answer.text


def config_map(name: str, **labels: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}


def test_webhook_object_selector_chooses(api: Api, webhook: Webhook) -> None:
    selector = {"matchLabels": {"checked": "yes"}}
    configure(api, webhook, "validating", "v", objectSelector=selector)
    assert api.send("POST", MAPS, config_map("deny")).status_code == 201
    api.send("DELETE", f"{MAPS}/deny")
    assert api.send("POST", MAPS, config_map("deny", checked="yes")).status_code == 400


def test_webhook_match_conditions_choose(api: Api, webhook: Webhook) -> None:
    condition = {"name": "not-mine", "expression": "request.name != 'deny'"}
    configure(api, webhook, "validating", "v", matchConditions=[condition])
    assert api.send("POST", MAPS, config_map("deny")).status_code == 201
    assert not webhook.received
    assert api.send("POST", MAPS, config_map("other")).status_code == 201
    assert len(webhook.received) == 1


def test_webhook_of_an_untrusted_authority_is_not_called(api: Api, webhook: Webhook) -> None:
    stranger = Webhook(0)
    try:
        config = {"url": f"https://{webhook.address}/validate", "caBundle": stranger.bundle}
        configure(api, webhook, "validating", "v", clientConfig=config)
        answer = api.send("POST", MAPS, config_map("ok"))
    finally:
        stranger.close()
    assert answer.status_code == 500
    assert "certificate signed by unknown authority" in answer.json()["message"]
    assert not webhook.received


@pytest.mark.parametrize(("policy", "status"), [("Fail", 500), ("Ignore", 201)])
def test_webhook_failure_policy_decides(
    api: Api, webhook: Webhook, policy: str, status: int
) -> None:
    configure(api, webhook, "validating", "v", failurePolicy=policy)
    assert api.send("POST", MAPS, config_map("http500")).status_code == status


def test_webhook_with_side_effects_refuses_a_dry_run(api: Api, webhook: Webhook) -> None:
    configure(api, webhook, "validating", "v", sideEffects="NoneOnDryRun")
    assert api.send("POST", MAPS, config_map("a"), dryRun="All").status_code == 201
    assert webhook.received[0]["body"]["request"]["dryRun"] is True


def test_webhook_mutation_is_stored_and_seen_by_validation(api: Api, webhook: Webhook) -> None:
    configure(api, webhook, "mutating", "m")
    configure(api, webhook, "validating", "v")
    answer = api.send("POST", MAPS, config_map("a"))
    assert answer.json()["data"] == {"a": "1", "injected": "yes"}
    paths = [one["path"].partition("?")[0] for one in webhook.received]
    assert paths == ["/mutate", "/validate"]
    assert webhook.received[1]["body"]["request"]["object"]["data"]["injected"] == "yes"


def test_webhook_of_a_service_is_found_by_its_endpoints(api: Api, webhook: Webhook) -> None:
    """A service reference is called by the service's name, which its certificate must carry."""
    service = {
        "metadata": {"name": "hook"},
        "spec": {"ports": [{"port": 443, "targetPort": webhook.port}]},
    }
    assert api.send("POST", "/api/v1/namespaces/default/services", service).status_code == 201
    subset = {"addresses": [{"ip": "10.244.0.1"}], "ports": [{"port": webhook.port}]}
    endpoints = {"metadata": {"name": "hook"}, "subsets": [subset]}
    assert api.send("POST", "/api/v1/namespaces/default/endpoints", endpoints).status_code == 201
    reference = {"name": "hook", "namespace": "default", "path": "/validate"}
    config = {"service": reference, "caBundle": webhook.bundle}
    configure(api, webhook, "validating", "v", clientConfig=config)
    answer = api.send("POST", MAPS, config_map("a"))
    # Nobody listens on the pod's address here, and the words say where it was tried.
    assert answer.status_code == 500
    assert "https://hook.default.svc:443/validate?timeout=2s" in answer.json()["message"]


def test_webhook_configurations_are_never_sent_to_webhooks(api: Api, webhook: Webhook) -> None:
    everything = {
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "operations": ["*"],
        "resources": ["*/*"],
    }
    dead = {"url": "https://127.0.0.1:9/x", "caBundle": webhook.bundle}
    configure(api, webhook, "validating", "v", rules=[everything], clientConfig=dead)
    assert api.send("POST", MAPS, config_map("a")).status_code == 500
    gone = api.send("DELETE", f"{HOOKS}/validatingwebhookconfigurations/v")
    assert gone.status_code == 200


def test_webhook_policy_in_cel_refuses_warns_and_reads_parameters(api: Api) -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["secrets"],
                    }
                ]
            },
            "variables": [{"name": "most", "expression": "int(params.data.most)"}],
            "validations": [
                {
                    "expression": "size(object.metadata.name) <= variables.most",
                    "messageExpression": "'at most ' + string(variables.most) + ' letters'",
                    "reason": "Forbidden",
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"},
        "spec": {
            "policyName": "p",
            "paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"},
            "validationActions": ["Deny"],
        },
    }
    limits = {"metadata": {"name": "limits"}, "data": {"most": "3"}}
    secrets = "/api/v1/namespaces/default/secrets"
    assert api.send("POST", f"{HOOKS}/validatingadmissionpolicies", policy).status_code == 201
    path = f"{HOOKS}/validatingadmissionpolicybindings"
    assert api.send("POST", path, binding).status_code == 201
    missing = api.send("POST", secrets, {"metadata": {"name": "abc"}})
    assert "no params found" in missing.json()["message"]
    assert api.send("POST", MAPS, limits).status_code == 201
    assert api.send("POST", secrets, {"metadata": {"name": "abc"}}).status_code == 201
    refused = api.send("POST", secrets, {"metadata": {"name": "abcd"}})
    assert refused.status_code == 403
    assert "denied request: at most 3 letters" in refused.json()["message"]
    api.send("DELETE", f"{path}/b")
    assert api.send("POST", secrets, {"metadata": {"name": "abcd"}}).status_code == 201


def test_webhook_received_patch_is_json(webhook: Webhook) -> None:
    """The test's own webhook speaks the protocol it is meant to check."""
    assert base64.b64decode(webhook.bundle).startswith(b"-----BEGIN CERTIFICATE-----")
    assert json.loads(json.dumps(webhook.received)) == []
