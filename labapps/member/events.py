"""Say what is wrong in the events of the namespace, where `kubectl describe` shows it.

With the pod's own service account, when one is mounted and may create events; the log says the
same in any case, so a platform that grants nothing loses nothing.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import os
import secrets
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from labapps.member.configmeta import Configmeta
from labapps.member.place import Place

__all__ = ["Events"]

log = logging.getLogger(__name__)
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Subject:
    """The object an event is about."""

    kind: str
    name: str
    api_version: str = "v1"


class Events:
    """Writes events in this pod's namespace."""

    def __init__(self, place: Place, meta: Configmeta) -> None:
        self.account = place.path(ACCOUNT)
        self.namespace, self.cluster, self.host = meta.namespace, meta.cluster, meta.host
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        self.url = f"https://{host}:{port}" if host else ""
        self.tasks: set[asyncio.Task[None]] = set()
        self.refused = False

    def warn(self, configmap: str, text: str) -> None:
        """Write a warning about a model's ConfigMap, and about the cluster it is connected to."""
        if self.refused or not self.url or not (self.account / "token").is_file():
            return
        group = "kubedirector.hpe.com/v1beta1"
        for subject in (
            Subject("ConfigMap", configmap),
            Subject("KubeDirectorCluster", self.cluster, group),
        ):
            task = asyncio.get_running_loop().create_task(self._send(subject, text))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _send(self, subject: Subject, text: str) -> None:
        try:
            await asyncio.to_thread(self._post, subject, text)
        except OSError as error:
            self.refused = self.refused or isinstance(error, urllib.error.HTTPError)
            log.warning("No event was written (%s); this log has what it would say.", error)

    def _post(self, subject: Subject, text: str) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{subject.name}.{secrets.token_hex(8)}",
                "namespace": self.namespace,
            },
            "involvedObject": self._reference(subject),
            "reason": "ModelNotServed",
            "message": text[:1000],
            "type": "Warning",
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "deployment-engine", "host": self.host.partition(".")[0]},
        }
        self._ask(f"/api/v1/namespaces/{self.namespace}/events", json.dumps(event).encode())

    def _reference(self, subject: Subject) -> dict[str, str]:
        return {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "name": subject.name,
            "namespace": self.namespace,
        }

    def _ask(self, path: str, body: bytes) -> None:
        token = (self.account / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        ca = Path(self.account / "ca.crt")
        context = ssl.create_default_context(cafile=str(ca))
        request = urllib.request.Request(self.url + path, body, headers)
        with urllib.request.urlopen(request, timeout=10, context=context) as reply:
            reply.read()
