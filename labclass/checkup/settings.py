"""Are the settings complete, and is the certificate one?"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.visit import Visit

NEEDED = ("EZMERAL_URL", "EZMERAL_CA", "EZMERAL_TENANT", "EZMERAL_USER", "PROJECT_REPO")
_SOON = timedelta(days=14)


def complete(visit: Visit) -> Iterator[Finding]:
    """Look whether each setting that labs read is there."""
    expected = ", ".join(NEEDED)
    absent = [name for name in NEEDED if not visit.settings.get(name)]
    if absent:
        yield missing(
            "Settings",
            expected,
            f"no {', '.join(absent)}",
            "Add NAME=value lines to the file, or set them in the environment; `labsandbox env` "
            "prints what such a file holds.",
        )
        return
    place = urlsplit(visit.url)
    if place.scheme != "https" or not place.hostname:
        yield missing(
            "Settings",
            "EZMERAL_URL=https://host:port",
            f"EZMERAL_URL={visit.url}",
            "A password travels there: name an address with https.",
        )
        return
    if place.hostname.endswith(".example"):
        yield missing(
            "Settings",
            "your platform's address in EZMERAL_URL",
            f"the example's, {place.hostname}",
            "Put the address of your platform's front door into the file.",
        )
        return
    visit.reached.add("settings")
    user, tenant = visit.value("EZMERAL_USER"), visit.value("EZMERAL_TENANT")
    yield ok("Settings", expected, f"{user} of {tenant} at {visit.url}")


def certificate(visit: Visit) -> Iterator[Finding]:
    """Look whether EZMERAL_CA holds certificates that are valid for a while."""
    path = Path(visit.value("EZMERAL_CA"))
    cure = (
        "Ask who runs the platform for the certificate (PEM) its front door is signed with, and "
        "name the file in EZMERAL_CA."
    )
    expected = "a certificate in the file that EZMERAL_CA names"
    try:
        ssl.create_default_context(cafile=str(path))
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        what = "no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        yield missing("Certificate", expected, f"{path}: {what}", cure)
        return
    except ValueError:
        yield missing("Certificate", expected, f"{path}: no certificate", cure)
        return
    end = min(one.not_valid_after_utc for one in found)
    until = f"{path}, valid until {end:%Y-%m-%d}"
    now = datetime.now(UTC)
    if end <= now:
        yield missing("Certificate", "a certificate that is still valid", until, cure)
        return
    visit.http.verify = str(path)
    visit.reached.add("certificate")
    if end - now < _SOON:
        yield advice("Certificate", "a certificate that is valid for weeks", until, cure)
        return
    yield ok("Certificate", expected, until)
