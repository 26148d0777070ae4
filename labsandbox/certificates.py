"""Server certificates from the sandbox's own certificate authority."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labsandbox.state import write_private

_VALID = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)


def server_context(pki: Path, name: str, hosts: tuple[str, ...]) -> ssl.SSLContext:
    """Return a TLS server context for `hosts`, issuing or renewing the certificate if needed."""
    cert, key = pki / f"{name}.crt", pki / f"{name}.key"
    if not _is_fresh(cert, key, pki / "ca.crt"):
        _issue(pki, cert, key, name, hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def _is_fresh(cert: Path, key: Path, ca: Path) -> bool:
    if not (cert.exists() and key.exists()):
        return False
    loaded = x509.load_pem_x509_certificate(cert.read_bytes())
    authority = x509.load_pem_x509_certificate(ca.read_bytes())
    return (
        loaded.issuer == authority.subject
        and loaded.not_valid_after_utc - _RENEW_BEFORE > datetime.now(UTC)
        and cert.stat().st_mtime >= ca.stat().st_mtime
    )


def _issue(pki: Path, cert: Path, key: Path, name: str, hosts: tuple[str, ...]) -> None:
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    authority_key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError(f"Expected an EC or RSA key in {pki / 'ca.key'}.")
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_san(host) for host in hosts]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), False
        )
        .sign(authority_key, hashes.SHA256())
    )
    write_private(
        key,
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    )
    write_private(cert, built.public_bytes(serialization.Encoding.PEM).decode())


def _san(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
