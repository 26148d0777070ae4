"""Service account tokens for pods: asked for through TokenRequest, renewed at four fifths."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labsandbox.client import Client
from labsandbox.client.resources import SERVICEACCOUNTS

Object = dict[str, Any]

_RENEW_AT = 0.8


@dataclass(frozen=True)
class _Token:
    text: str
    renew_at: float


class Tokens:
    """The tokens of the node's pods, in memory only."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._held: dict[tuple[str, str, int], _Token] = {}

    async def get(self, pod: Object, audience: str, seconds: int) -> str:
        """Return a token bound to the pod that is good for some time still."""
        key = (pod["metadata"]["uid"], audience, seconds)
        held = self._held.get(key)
        if held is None or time.time() >= held.renew_at:
            held = self._held[key] = await self._request(pod, audience, seconds)
        return held.text

    async def _request(self, pod: Object, audience: str, seconds: int) -> _Token:
        meta = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        spec: Object = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        answer = await self.client.create(
            SERVICEACCOUNTS,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            meta["namespace"],
            name=pod["spec"].get("serviceAccountName") or "default",
            subresource="token",
        )
        now = time.time()
        expiry = answer["status"].get("expirationTimestamp")
        ends = datetime.fromisoformat(expiry).timestamp() if expiry else now + seconds
        return _Token(answer["status"]["token"], now + max(1.0, (ends - now) * _RENEW_AT))

    def next_renewal(self, pod: Object, longest: float) -> float:
        """Return the seconds until the first of a pod's tokens is due."""
        uid, now = pod["metadata"]["uid"], time.time()
        due = [token.renew_at - now for key, token in self._held.items() if key[0] == uid]
        return max(1.0, min([longest, *due]))

    def forget(self, uid: str) -> None:
        """Drop the tokens of a pod that is gone."""
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]
