"""The cluster's own certificate authority, made at first start, and the kubeconfigs it signs."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

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


def write_private(path: Path, data: bytes) -> None:
    """Write a file only its owner can read, all of it or nothing."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


class Authority:
    """Signs certificates with the key in `folder`; makes that key when there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def certificate_file(self) -> Path:
        return self.folder / "ca.crt"

    def ensure(self, host: str, kubelets: Iterable[str] = ()) -> None:
        """Make what is missing: the authority, the server's certificate, the token key."""
        if not self.certificate_file.exists():
            self._make_authority()
        if not (self.folder / "apiserver.crt").exists():
            names = [*NAMES, host] if host not in NAMES and not _is_address(host) else list(NAMES)
            addresses = ["127.0.0.1", "::1", SERVICE_ADDRESS]
            if _is_address(host) and host not in (*addresses, "0.0.0.0", "::"):
                addresses.append(host)
            self.sign("apiserver", "kube-apiserver", (), names, addresses, server=True)
        if not (self.folder / "sa.key").exists():
            self._make_token_key()

    def sign(
        self,
        stem: str,
        user: str,
        groups: Iterable[str] = (),
        names: Iterable[str] = (),
        addresses: Iterable[str] = (),
        *,
        server: bool = False,
    ) -> tuple[Path, Path]:
        """Make `stem.crt` and `stem.key` for `user` (common name) of `groups` (organisations)."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
            + [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        )
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if server:
            usage.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        builder = _builder(subject, key).add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        authority, authority_key = self._load_authority()
        certificate = _signed(builder, authority.subject, authority_key)
        return self._store(stem, certificate, key)

    def _make_authority(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "labsandbox")])
        builder = _builder(subject, key, authority=True)
        self._store("ca", _signed(builder, subject, key), key)

    def _make_token_key(self) -> None:
        """RSA, because clients expect RS256 from the issuer's discovery."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(65537, 2048)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / "sa.pub").write_bytes(public)
        write_private(
            self.folder / "sa.key",
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def _load_authority(self) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

        certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        return certificate, key

    def _store(
        self, stem: str, certificate: x509.Certificate, key: EllipticCurvePrivateKey
    ) -> tuple[Path, Path]:
        from cryptography.hazmat.primitives import serialization

        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        key_file = self.folder / f"{stem}.key"
        certificate_file = self.folder / f"{stem}.crt"
        write_private(key_file, pem)
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return certificate_file, key_file

    def kubeconfig(self, stem: str, user: str, groups: Iterable[str], server: str) -> bytes:
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
        return orjson.dumps(config, option=orjson.OPT_INDENT_2)


def write_kubeconfigs(state: Path, authority: Authority, server: str) -> None:
    """Write `admin.conf` and one kubeconfig per component, all pointing at `server`."""
    folder = state / "kubeconfigs"
    folder.mkdir(exist_ok=True, mode=0o700)
    admin = authority.kubeconfig(
        "client-kubernetes-admin", "kubernetes-admin", ["system:masters"], server
    )
    write_private(state / "admin.conf", admin)
    for component in COMPONENTS:
        user = f"system:labsandbox:{component}"
        text = authority.kubeconfig(f"client-{component}", user, ["system:masters"], server)
        write_private(folder / f"{component}.conf", text)


def _file64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _builder(
    subject: x509.Name, key: EllipticCurvePrivateKey, *, authority: bool = False
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, issuer: x509.Name, key: EllipticCurvePrivateKey
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    return (
        builder.issuer_name(issuer)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
