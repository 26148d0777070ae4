"""A connection to the cluster that outlives the session it was opened with.

A lab opens its clients once. When the session ends in the middle of the lab, the next call says
so in a sentence; after `renew()` the same clients go on with the new session.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client import rest

from labkube.errors import SignInNeeded

__all__ = ["OVER", "Connection"]

OVER = (
    "Your session is over. Run `from labhelpers.signin import renew; renew()` in a cell, "
    "then this cell again: nothing is lost."
)


class Connection(client.ApiClient):
    """The official client's connection, which reads the kubeconfig again when it is refused."""

    def __init__(self, kubeconfig: Path) -> None:
        configuration = _read(kubeconfig)
        super().__init__(configuration=configuration)
        self.rest_client = _Requests(self, configuration, kubeconfig)


class _Requests(rest.RESTClientObject):
    """The layer below, where each request passes, whatever the client's release."""

    def __init__(self, connection: Connection, configuration: Any, kubeconfig: Path) -> None:
        super().__init__(configuration)
        self.connection, self.kubeconfig = connection, kubeconfig

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        try:
            answer = super().request(method, url, *args, **more)  # type: ignore[no-untyped-call]
        except client.ApiException as error:  # releases before 36 raise here
            if error.status != 401:
                raise
        else:
            if answer.status != 401:
                return answer
            answer.read()  # to its end, so that its connection can be used again
        renewed = _read(self.kubeconfig)  # a new sign-in may have written a new one
        told = {one["key"]: one["value"] for one in renewed.auth_settings().values()}
        sent = dict(more.get("headers") or {})
        if not told or told.items() <= sent.items():
            raise SignInNeeded(OVER)
        following = _Requests(self.connection, renewed, self.kubeconfig)
        self.connection.configuration, self.connection.rest_client = renewed, following
        self.pool_manager.clear()
        more["headers"] = sent | told
        once = rest.RESTClientObject.request  # a second refusal is the caller's to read
        return once(following, method, url, *args, **more)  # type: ignore[no-untyped-call]


def _read(kubeconfig: Path) -> Any:
    configuration = client.Configuration()
    config.load_kube_config(  # type: ignore[no-untyped-call]
        str(kubeconfig), client_configuration=configuration
    )
    return configuration
