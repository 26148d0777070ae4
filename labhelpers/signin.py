"""Sign in again: what lab core-01 does by hand, for the labs that come after it."""

from __future__ import annotations

import os
from pathlib import Path

import requests

from labhelpers.environment import password, settings
from labkube.errors import SignInNeeded

__all__ = ["renew", "save_kubeconfig"]

_SECONDS = 30


def renew() -> Path:
    """Sign in and replace the kubeconfig; return its path."""
    place = settings()
    body = {"name": place.user, "password": password(place.user), "tenant_name": place.tenant}
    with requests.Session() as http:
        http.verify, http.trust_env = str(place.ca), False
        signed_in = http.post(f"{place.url}/api/v2/session", json=body, timeout=_SECONDS)
        if signed_in.status_code != 201:
            raise SignInNeeded(f"The platform refused: {_reason(signed_in)}")
        session = {"X-BDS-SESSION": signed_in.headers["Location"]}
        answer = http.get(f"{place.url}/api/v2/k8skubeconfig", headers=session, timeout=_SECONDS)
        answer.raise_for_status()
    save_kubeconfig(answer.text, place.kubeconfig)
    return place.kubeconfig


def save_kubeconfig(text: str, path: Path) -> None:
    """Write a kubeconfig so that only you can read it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spare = path.with_name(f".{path.name}.new")
    with open(spare, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
        out.write(text)
    spare.replace(path)


def _reason(answer: requests.Response) -> str:
    try:
        said = answer.json()
    except ValueError:
        return f"HTTP {answer.status_code}"
    return f"{said.get('message', answer.status_code)} {said.get('hint', '')}".strip()
