"""The Kubernetes API as this visit uses it: plain calls, refusals as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

GROUP = "kubedirector.hpe.com"
KUBEDIRECTOR = f"/apis/{GROUP}/v1beta1"
SECONDS = 15


class SessionOver(Exception):
    """The platform no longer knows who we are."""


@dataclass
class Api:
    """Where the API is, and the namespace of the learner's tenant."""

    server: str
    http: requests.Session
    namespace: str

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        **query: str,
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer; SessionOver when nobody is known any more."""
        answer = self.http.request(
            method, self.server + path, json=body, params=query, timeout=SECONDS
        )
        if answer.status_code == 401:
            raise SessionOver
        found = answer.json() if answer.content else {}
        return answer.status_code, found if isinstance(found, dict) else {}

    def get(self, path: str, **query: str) -> tuple[int, dict[str, Any]]:
        """Read something."""
        return self.call("GET", path, None, **query)

    def tried(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Create something up to, but not including, its being stored."""
        return self.call("POST", path, body, dryRun="All")

    def core(self, plural: str, name: str = "") -> str:
        """Return the path of a resource of the core group in the namespace."""
        return f"/api/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def custom(self, plural: str, name: str = "") -> str:
        """Return the path of a KubeDirector resource in the namespace."""
        path = f"{KUBEDIRECTOR}/namespaces/{self.namespace}/{plural}"
        return path + (f"/{name}" if name else "")


def said(body: Mapping[str, Any]) -> str:
    """Return the sentence of a refusal."""
    return str(body.get("message") or body.get("reason") or "no reason given")
