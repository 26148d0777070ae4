"""Render the kubeconfig a session gets."""

from __future__ import annotations

import base64
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from labsandbox.ezmeral.accounts import Session

PLATFORM = "lab"
KUBERNETES_CLUSTER = "sandbox"
SESSION = "HPECP_SESSION"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the platform answers, and whom to trust."""

    gateway: str  # host:port of the REST API
    kubernetes: str  # URL of the Kubernetes API
    ca: Path


def render(session: Session, place: Endpoint, token: str | None = None) -> str:
    """Return the kubeconfig; with `token` a plain bearer token instead of the exec plugin."""
    cluster = f"{PLATFORM}-{KUBERNETES_CLUSTER}"
    user = f"{PLATFORM}-{session.user.name}"
    contexts = [{"name": f"{cluster}-{session.user.name}", "context": _context(cluster, user)}]
    if session.tenant:
        namespace = session.tenant.namespace
        contexts.append(
            {
                "name": f"{cluster}-{namespace}-{session.user.name}",
                "context": _context(cluster, user, namespace),
            }
        )
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [
            {
                "name": cluster,
                "cluster": {
                    "server": place.kubernetes,
                    "certificate-authority-data": base64.b64encode(place.ca.read_bytes()).decode(),
                },
            }
        ],
        "contexts": contexts,
        "current-context": contexts[-1]["name"],
        "users": [
            {"name": user, "user": {"token": token} if token else _exec(session, place)},
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _context(cluster: str, user: str, namespace: str | None = None) -> dict[str, str]:
    context = {"cluster": cluster, "user": user}
    return context | {"namespace": namespace} if namespace else context


def _exec(session: Session, place: Endpoint) -> dict[str, Any]:
    beside_python = shutil.which("kubectl-hpecp", path=str(Path(sys.executable).parent))
    command = [beside_python] if beside_python else [sys.executable, "-m", _PLUGIN]
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "interactiveMode": "Never",
            "command": command[0],
            "args": [
                *command[1:],
                "hpecp",
                "authenticate",
                place.gateway,
                f"--hpecp-user={session.user.name}",
                f"--hpecp-ca={place.ca}",
            ],
            # Every user of the host may read a command line; an environment only its owner.
            "env": [{"name": SESSION, "value": session.path}],
            "installHint": "kubectl-hpecp comes with the labs: run `make setup`.",
        }
    }


_PLUGIN = "labsandbox.ezmeral.plugin"
