"""A certificate for a hub that listens on a network, when the site gives none.

A small authority is made beside the hub and signs one certificate. The authority may vouch for
this host alone (its name constraints say so) and its key is forgotten once it has signed, so
whoever trusts it for the class trusts it for nothing else.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labrunner import files

_DAYS, _RENEW = 90, 14


@dataclass(frozen=True)
class Tls:
    """The files of a certificate; `authority` is None when a public one signed it."""

    certificate: Path
    key: Path
    authority: Path | None = None

    @property
    def advice(self) -> str:
        """Say how a browser comes to trust the hub."""
        if self.authority is None:
            return "The hub shows your own certificate."
        return (
            f"Learners' browsers do not know the hub yet. Give them {self.authority} (it is no "
            "secret): in Chrome and Edge Settings, Privacy and security, Security, Manage "
            "certificates, Authorities, Import; in Firefox Settings, Privacy & Security, View "
            "Certificates, Authorities, Import. It vouches for this host and no other."
        )


def names_of(bind: str, url_host: str) -> list[str]:
    """List by which names and addresses learners may reach a hub bound to an address."""
    found = {url_host, "localhost", "127.0.0.1"}
    if bind in ("0.0.0.0", "::", "", "*"):
        addresses = [a for each in psutil.net_if_addrs().values() for a in each]
        found |= {a.address for a in addresses if a.family == socket.AF_INET}
        found.add(socket.gethostname())
    else:
        found.add(bind)
    return sorted(name for name in found if name)


def provide(folder: Path, hosts: Iterable[str]) -> Tls:
    """Return a certificate for these hosts; make it, or make it anew before it ends."""
    made = Tls(folder / "hub.crt", folder / "hub.key", folder / "ca.crt")
    wanted = sorted(set(hosts))
    if not _is_good(made, wanted):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(made, wanted)
    return made


def _is_good(made: Tls, hosts: list[str]) -> bool:
    try:
        found = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    except (OSError, ValueError):
        return False
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [_general(host) for host in hosts] == list(names) and (
        found.not_valid_after_utc - datetime.now(UTC) > timedelta(days=_RENEW)
    )


def _make(made: Tls, hosts: list[str]) -> None:
    """Make an authority, have it sign once, and forget its key: nobody needs it again."""
    assert made.authority is not None
    authority, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    issuer = _named("House on the lake, this class only")
    root = (
        _builder(issuer, issuer, authority.public_key(), authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.NameConstraints([_general(h, is_range=True) for h in hosts], None), critical=True
        )
        .sign(authority, hashes.SHA256())
    )
    leaf = (
        _builder(_named(hosts[-1]), issuer, key.public_key(), authority.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(h) for h in hosts]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for path, text in (
        (made.authority, root.public_bytes(serialization.Encoding.PEM)),
        (made.key, private),
        (made.certificate, leaf.public_bytes(serialization.Encoding.PEM)),
    ):
        files.write_private(path, text)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(host: str, is_range: bool = False) -> x509.GeneralName:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return x509.DNSName(host)
    return x509.IPAddress(ipaddress.ip_network(address) if is_range else address)
