"""The file that tells an API server how to ask the front door about bearer tokens."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from labsandbox.files import write_private
from labsandbox.state import State

PATH = "/authn/tokenreview"


def secret(state: State) -> str:
    """Return what the API server proves itself with; made at first use."""
    path = state.ezmeral / "tokenreview.secret"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()


def config_file(state: State, host: str, port: int) -> Path:
    """Write the kubeconfig of the TokenReview webhook and return its path."""
    name = "ezmeral"
    cluster = {"server": f"https://{host}:{port}{PATH}", "certificate-authority": str(state.ca)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": secret(state)}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path = state.ezmeral / "tokenreview.conf"
    write_private(path, json.dumps(document, indent=1))
    return path
