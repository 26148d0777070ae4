"""The webhook's certificate: from the platform's CA when there is one, else from one made here."""

from __future__ import annotations

import ssl
from pathlib import Path

from labsandbox import certificates


def make_context(host: str, authority: Path | None = None) -> tuple[ssl.SSLContext, bytes]:
    """Return a server context for `host` and the CA (PEM) that clients check it with.

    `authority` is a folder with ca.crt and ca.key.
    """
    if authority:
        signer = certificates.load_authority(authority)
    else:
        signer = certificates.make_authority("kubedirector-webhook-ca", certificates.YEAR)
    pair = certificates.issue("kubedirector-webhook", signer, (host, "localhost", "127.0.0.1"))
    return certificates.context_of(pair), signer.certificate_pem.encode()
