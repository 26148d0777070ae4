"""Read a kubeconfig: where the server is, whom to trust and who we are."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from labsandbox.client.errors import KubeconfigError

_EXEC_SECONDS = 30


@dataclass
class Access:
    """How to reach one API server as one user."""

    server: str
    namespace: str
    ca_pem: str | None = None
    cert_pem: str | None = None
    key_pem: str | None = None
    token: str | None = None
    token_file: Path | None = None
    exec_spec: dict[str, Any] | None = None
    _exec_token: str | None = None
    _exec_expiry: datetime | None = field(default=None)

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context for this server, or None for plain http."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca_pem)
        if self.cert_pem and self.key_pem:
            # ssl only loads a key pair from files; it is gone again after the call.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
                pair.write(self.cert_pem + "\n" + self.key_pem)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context

    def bearer(self) -> str | None:
        """Return the token to send now, renewing an exec credential that has run out."""
        if self.token:
            return self.token
        if self.token_file:
            return self.token_file.read_text().strip()
        if self.exec_spec:
            return self._run_exec()
        return None

    def _run_exec(self) -> str | None:
        if self._exec_token and (
            self._exec_expiry is None or datetime.now(UTC) < self._exec_expiry
        ):
            return self._exec_token
        spec = self.exec_spec or {}
        command = [spec["command"], *(spec.get("args") or [])]
        info = {"apiVersion": spec["apiVersion"], "kind": "ExecCredential", "spec": {}}
        env = os.environ | {e["name"]: e["value"] for e in spec.get("env") or []}
        env["KUBERNETES_EXEC_INFO"] = json.dumps(info)
        try:
            done = subprocess.run(
                command, env=env, capture_output=True, timeout=_EXEC_SECONDS, check=True, text=True
            )
            status = json.loads(done.stdout)["status"]
        except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise KubeconfigError(
                f"The credential command {command[0]!r} of the kubeconfig failed: {said.strip()}"
            ) from error
        expiry = status.get("expirationTimestamp")
        self._exec_expiry = datetime.fromisoformat(expiry) if expiry else None
        self._exec_token = status.get("token")
        return self._exec_token


def load(path: str | Path, context: str | None = None) -> Access:
    """Read the kubeconfig at `path` and return the access its context describes."""
    file = Path(path)
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise KubeconfigError(f"Expected a kubeconfig at {file}, found: {error}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(f"Expected a kubeconfig at {file}, found no mapping in it.")
    name = context or document.get("current-context") or ""
    chosen = _named(document, "contexts", name, file)["context"]
    cluster = _named(document, "clusters", chosen["cluster"], file)["cluster"]
    user = _named(document, "users", chosen["user"], file).get("user") or {}
    token_file = user.get("tokenFile")
    return Access(
        server=cluster["server"].rstrip("/"),
        namespace=chosen.get("namespace") or "default",
        ca_pem=_pem(cluster, "certificate-authority", file),
        cert_pem=_pem(user, "client-certificate", file),
        key_pem=_pem(user, "client-key", file),
        token=user.get("token"),
        token_file=file.parent / token_file if token_file else None,
        exec_spec=user.get("exec"),
    )


def _named(document: dict[str, Any], section: str, name: str, file: Path) -> dict[str, Any]:
    for entry in document.get(section) or []:
        if entry.get("name") == name:
            return dict(entry)
    known = ", ".join(str(e.get("name")) for e in document.get(section) or []) or "none"
    raise KubeconfigError(f"{file} names {name!r} but its {section} are: {known}.")


def _pem(entry: dict[str, Any], key: str, file: Path) -> str | None:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(str(data)).decode()
    if location := entry.get(key):
        return (file.parent / str(location)).read_text()
    return None
