"""kopf: an operator of the kind its examples show, against the server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import kopf
import pytest
from kubernetes import client, config

from tests.sandbox.conftest import ApiServer

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.timeout(90),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
GROUP = "kopf.example.com"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"examples.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "examples", "kind": "Example"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


def wait_for(seen: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Wait for a condition; say what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := seen():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def test_kopf_operator_handles_creation_change_and_deletion(
    apiserver: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig))
    settings = client.Configuration()
    config.load_kube_config(str(apiserver.kubeconfig), client_configuration=settings)
    api = client.ApiClient(settings)
    client.ApiextensionsV1Api(api).create_custom_resource_definition(DEFINITION)
    client.CoreV1Api(api).create_namespace({"metadata": {"name": "kopf"}})
    customs = client.CustomObjectsApi(api)
    seen: list[tuple[str, Any]] = []
    registry = kopf.OperatorRegistry()

    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)

    @kopf.on.create(GROUP, "v1", "examples", id="create", registry=registry)
    def create(spec: kopf.Spec, **_: Any) -> dict[str, Any]:
        seen.append(("create", spec.get("size")))
        return {"made": spec.get("size")}

    @kopf.on.update(GROUP, "v1", "examples", registry=registry)
    def update(old: Any, new: Any, **_: Any) -> None:
        seen.append(("update", new["spec"]["size"]))

    @kopf.on.delete(GROUP, "v1", "examples", registry=registry)
    def delete(**_: Any) -> None:
        seen.append(("delete", None))

    ready, stop = threading.Event(), threading.Event()

    def operate() -> None:
        asyncio.run(
            kopf.operator(
                registry=registry, namespaces=["kopf"], ready_flag=ready, stop_flag=stop,
                standalone=True,
            )
        )  # fmt: skip

    thread = threading.Thread(target=operate, daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        path = (GROUP, "v1", "kopf", "examples")
        body = {"apiVersion": f"{GROUP}/v1", "kind": "Example", "metadata": {"name": "e"}}
        customs.create_namespaced_custom_object(*path, {**body, "spec": {"size": 1}})
        wait_for(lambda: ("create", 1) in seen, "the creation handler")
        found = wait_for(
            lambda: (
                customs.get_namespaced_custom_object(*path, "e").get("status", {}).get("create")
            ),
            "the handler's result in the status",
        )
        assert found == {"made": 1}
        customs.patch_namespaced_custom_object(*path, "e", {"spec": {"size": 2}})
        wait_for(lambda: ("update", 2) in seen, "the update handler")
        customs.delete_namespaced_custom_object(*path, "e")
        wait_for(lambda: ("delete", None) in seen, "the deletion handler")
        wait_for(
            lambda: not customs.list_namespaced_custom_object(*path)["items"],
            "the end of the object",
        )
    finally:
        stop.set()
        thread.join(20)
        api.close()
