"""The cluster's own certificate authority, made at first start, and the kubeconfigs it signs."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

import orjson

from labsandbox.files import write_private

NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVICE_ADDRESS = "10.96.0.1"
COMPONENTS = ("controllers", "node", "kubedirector", "ezmeral", "gateway")
_YEARS = 10


class Authority:
    """Signs certificates with the key in `folder`; makes that key when there is none.

    What is there already needs no cryptography, so `labsandbox.certificates` is imported late.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def certificate_file(self) -> Path:
        return self.folder / "ca.crt"

    def ensure(self, host: str) -> None:
        """Make what is missing: the authority, the server's certificate, the token key."""
        if not self.certificate_file.exists():
            from labsandbox import certificates

            certificates.make_authority("labsandbox").save(self.folder, "ca")
        if not (self.folder / "apiserver.crt").exists():
            hosts = [*NAMES, "127.0.0.1", "::1", SERVICE_ADDRESS]
            if host not in ("0.0.0.0", "::"):
                hosts.append(host)
            self.sign("apiserver", "kube-apiserver", hosts=hosts)
        if not (self.folder / "sa.key").exists():
            self._make_token_key()

    def sign(
        self, stem: str, user: str, groups: Iterable[str] = (), hosts: Iterable[str] = ()
    ) -> tuple[Path, Path]:
        """Make `stem.crt` and `stem.key` for `user` (common name) of `groups` (organisations)."""
        from labsandbox import certificates

        pair = certificates.issue(
            user,
            certificates.load_authority(self.folder),
            hosts,
            groups=groups,
            is_client=True,
            life=_YEARS * certificates.YEAR,
        )
        return pair.save(self.folder, stem)

    def _make_token_key(self) -> None:
        """RSA, because clients expect RS256 from the issuer's discovery."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        from labsandbox.certificates import private_pem

        key = rsa.generate_private_key(65537, 2048)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / "sa.pub").write_bytes(public)
        write_private(self.folder / "sa.key", private_pem(key))

    def kubeconfig(self, stem: str, user: str, groups: Iterable[str], server: str) -> str:
        """A kubeconfig (JSON is YAML) that signs in with a client certificate of `user`."""
        certificate_file = self.folder / f"{stem}.crt"
        key_file = self.folder / f"{stem}.key"
        if not (certificate_file.exists() and key_file.exists()):
            self.sign(stem, user, groups)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "labsandbox",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _file64(self.certificate_file),
                    },
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _file64(certificate_file),
                        "client-key-data": _file64(key_file),
                    },
                }
            ],
            "contexts": [{"name": user, "context": {"cluster": "labsandbox", "user": user}}],
            "current-context": user,
        }
        return orjson.dumps(config, option=orjson.OPT_INDENT_2).decode()


def write_kubeconfigs(state: Path, authority: Authority, server: str) -> None:
    """Write `admin.conf` and one kubeconfig per component, all pointing at `server`."""
    folder = state / "kubeconfigs"
    folder.mkdir(exist_ok=True, mode=0o700)
    admin = authority.kubeconfig(
        "client-kubernetes-admin", "kubernetes-admin", ["system:masters"], server
    )
    write_private(state / "admin.conf", admin)
    for component in COMPONENTS:
        # No groups: what each may do is bound to its name, in deploy/kubernetes/rights/parts.
        text = authority.kubeconfig(f"part-{component}", f"labsandbox:{component}", [], server)
        write_private(folder / f"{component}.conf", text)
        for leftover in ("crt", "key"):  # of before 0.2: members of system:masters
            (authority.folder / f"client-{component}.{leftover}").unlink(missing_ok=True)


def _file64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
