"""Certificates of the sandbox: an authority, what it signs, and TLS contexts from them.

The one place that issues them. Importing it loads `cryptography` (some milliseconds and megabytes),
so a room that finds its files made already imports it where it needs it.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labsandbox.files import write_private

YEAR = timedelta(days=365)
_BACKDATED = timedelta(minutes=5)  # the clocks of two machines differ a little
_RENEW_BEFORE = timedelta(days=30)
_KEYS = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def certificate_pem(self) -> str:
        """Return the certificate as text."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """Return the private key as text; write it with `write_private` only."""
        return private_pem(self.key)

    def save(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Write `stem.crt` and `stem.key`, the key first: a certificate alone is never found."""
        certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
        write_private(key, self.key_pem)
        write_private(certificate, self.certificate_pem)
        return certificate, key


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """Return a private key as text."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def make_authority(name: str, life: timedelta = 10 * YEAR) -> Pair:
    """Make a certificate authority that signs servers and clients."""
    return _make(name, None, life=life, is_authority=True)


def ensure_authority(folder: Path, name: str) -> Path:
    """Make `ca.crt` and `ca.key` in a folder that has none; return the folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "ca.crt").exists():
        make_authority(name).save(folder, "ca")
    return folder


def load_authority(folder: Path) -> Pair:
    """Read `ca.crt` and `ca.key`."""
    certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    if not isinstance(key, _KEYS):
        raise TypeError(f"Expected an EC or RSA key in {folder / 'ca.key'}, found another kind.")
    return Pair(certificate, key)


def issue(
    name: str,
    authority: Pair | None,
    hosts: Iterable[str] = (),
    *,
    groups: Iterable[str] = (),
    is_client: bool = False,
    life: timedelta = YEAR,
) -> Pair:
    """Sign a certificate for a server at `hosts`, or a client; without an authority by itself."""
    return _make(name, authority, hosts=hosts, groups=groups, is_client=is_client, life=life)


def sign_request(
    request: bytes, authority: Pair, usages: Iterable[str], life: timedelta = YEAR
) -> str:
    """Return the certificate (PEM) of a signing request; raise ValueError for one that is wrong.

    Nobody becomes a member of system:masters this way, whoever approved the request.
    """
    asked = x509.load_pem_x509_csr(request)
    if not asked.is_signature_valid:
        raise ValueError("the request is not signed by its own key")
    groups = asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if any(group.value == "system:masters" for group in groups):
        raise ValueError("a certificate of the group system:masters is not signed on request")
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                _purposes(is_server="server auth" in usages, is_client="client auth" in usages)
            ),
            critical=False,
        )
    )
    try:
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        builder = builder.add_extension(names, critical=False)
    except x509.ExtensionNotFound:
        pass
    signed = builder.sign(authority.key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def server_context(pki: Path, name: str, hosts: tuple[str, ...]) -> ssl.SSLContext:
    """Return a TLS server context for `hosts`, issuing or renewing the certificate if needed."""
    cert, key = pki / f"{name}.crt", pki / f"{name}.key"
    if not _is_fresh(cert, key, pki / "ca.crt", hosts):
        issue(name, load_authority(pki), hosts).save(pki, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def context_of(pair: Pair) -> ssl.SSLContext:
    """Return a TLS server context for a pair that is kept nowhere."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        # The ssl module reads keys from files only; the folder is ours alone and short-lived.
        context.load_cert_chain(*pair.save(Path(folder), "server"))
    return context


def _is_fresh(cert: Path, key: Path, ca: Path, hosts: tuple[str, ...]) -> bool:
    if not (cert.exists() and key.exists()):
        return False
    loaded = x509.load_pem_x509_certificate(cert.read_bytes())
    authority = x509.load_pem_x509_certificate(ca.read_bytes())
    return (
        loaded.issuer == authority.subject
        and {_san(host) for host in hosts} <= set(_names_of(loaded))
        and loaded.not_valid_after_utc - _RENEW_BEFORE > datetime.now(UTC)
        and cert.stat().st_mtime >= ca.stat().st_mtime
    )


def _names_of(certificate: x509.Certificate) -> Iterable[x509.GeneralName]:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()


def _make(
    name: str,
    authority: Pair | None,
    *,
    hosts: Iterable[str] = (),
    groups: Iterable[str] = (),
    is_client: bool = False,
    is_authority: bool = False,
    life: timedelta,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [_san(host) for host in dict.fromkeys(hosts)]
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        + [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    issuer = authority.certificate.subject if authority else subject
    signer = authority.key if authority else key
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not is_authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(_purposes(is_server=bool(names), is_client=is_client)), False
        )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(builder.sign(signer, hashes.SHA256()), key)


def _purposes(*, is_server: bool, is_client: bool) -> list[x509.ObjectIdentifier]:
    server = [ExtendedKeyUsageOID.SERVER_AUTH] if is_server else []
    return server + ([ExtendedKeyUsageOID.CLIENT_AUTH] if is_client else [])


def _key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not is_authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _san(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
