"""Client certificates of the cluster's authority, for tests of who may come in."""

from __future__ import annotations

from pathlib import Path

from labsandbox import certificates
from labsandbox.files import write_private


def issue(pki: Path, name: str, group: str) -> Path:
    """Return a file with a key and a certificate for a user in a group."""
    authority = certificates.load_authority(pki)
    pair = certificates.issue(name, authority, groups=[group], is_client=True)
    path = pki / f"test-{group.replace(':', '-')}.pem"
    write_private(path, pair.key_pem + pair.certificate_pem)
    return path
