"""The front door: does it answer, do we trust it, does it let a learner in?"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.visit import SECONDS, Visit

SESSION = "/api/v2/session"
CLOCK_SECONDS = 30.0
SHORT_SECONDS = 4 * 3600.0


def trusted(visit: Visit) -> Iterator[Finding]:
    """Look whether the front door is there and shows a certificate that EZMERAL_CA vouches for."""
    place = urlsplit(visit.url)
    host, port = place.hostname or "", place.port or 443
    expected = f"a front door at {host}:{port} that EZMERAL_CA vouches for"
    problem = handshake(host, port, visit.value("EZMERAL_CA"))
    if problem is not None:
        yield missing("Front door", expected, *problem)
        return
    visit.reached.add("trust")
    yield ok("Front door", expected, f"{host}:{port}, trusted")


def handshake(host: str, port: int, authority: str) -> tuple[str, str] | None:
    """Open a verified connection; return what went wrong and its cure, or None."""
    try:
        raw = socket.create_connection((host, port), timeout=SECONDS)
    except OSError as error:
        return (
            f"nothing answers: {error.strerror or error}",
            f"Is the platform up, and may this machine reach it? Type `curl -v https://{host}:{port}`.",
        )
    try:
        context = ssl.create_default_context(cafile=authority)
        with raw, context.wrap_socket(raw, server_hostname=host):
            return None
    except ssl.SSLCertVerificationError as error:
        return (
            f"its certificate is not trusted: {error.verify_message}",
            f"{Path(authority).name} is of another platform, or the certificate names another "
            "host. Ask who runs the platform for the right one; never switch verification off.",
        )
    except OSError as error:
        return (f"no TLS: {error}", "Is this the port of the front door? EZMERAL_URL names it.")


def answers(visit: Visit) -> Iterator[Finding]:
    """Look whether it is a front door, and whether its clock agrees with ours."""
    expected = "200 from GET /api/v2/config"
    before = time.time()
    answer = visit.call("GET", "/api/v2/config")
    now = (before + time.time()) / 2
    if answer.status_code != 200:
        yield missing(
            "REST API",
            expected,
            f"{answer.status_code} {answer.reason}",
            "Something else answers at EZMERAL_URL, or a proxy does: ask who runs the platform.",
        )
        return
    visit.reached.add("front door")
    yield ok("REST API", expected, str(answer.headers.get("Server") or "200"))
    yield clock(answer.headers.get("Date"), now)


def clock(date: str | None, now: float) -> Finding:
    """Compare the platform's clock with this machine's."""
    expected = f"clocks that agree to {CLOCK_SECONDS:.0f} s"
    if not date:
        return advice("Clocks", expected, "no Date in the answer", "Compare `date` on both sides.")
    apart = parsedate_to_datetime(date).timestamp() - now
    found = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this machine"
    if abs(apart) <= CLOCK_SECONDS:
        return ok(
            "Clocks", expected, f"the platform is {found}" if abs(apart) >= 2 else "they agree"
        )
    cure = "Certificates and tokens have times: set both clocks, `timedatectl set-ntp true`."
    return missing("Clocks", expected, f"the platform is {found}", cure)


def sign_in(visit: Visit) -> Iterator[Finding]:
    """Sign in as the labs do; the session is signed out at the end of the visit."""
    user, tenant = visit.value("EZMERAL_USER"), visit.value("EZMERAL_TENANT")
    expected = f"a session for {user} in {tenant}"
    password, problem = _password(visit)
    if password is None:
        yield missing(
            "Sign-in",
            f"a password for {user}",
            problem,
            "Name a file that holds it, and nothing else, in EZMERAL_PASSWORD_FILE; or run this in "
            "a terminal to be asked.",
        )
        return
    visit.secrets.add(password)
    body = {"name": user, "password": password, "tenant_name": tenant}
    answer = visit.call("POST", SESSION, json=body)
    location = answer.headers.get("Location", "")
    if answer.status_code != 201 or not location:
        yield _refused(answer, expected, user, tenant)
        return
    visit.secrets.update({location, location.rsplit("/", 1)[-1]})
    visit.http.headers["X-BDS-SESSION"] = location
    visit.cleanups.callback(_sign_out, visit, location)
    visit.reached.add("session")
    yield ok("Sign-in", expected, "201, signed out again when this is done")


def _password(visit: Visit) -> tuple[str | None, str]:
    file = visit.value("EZMERAL_PASSWORD_FILE")
    if file:
        try:
            return Path(file).read_text("utf-8").strip(), ""
        except OSError as error:
            return None, f"{file}: {error.strerror}"
    if visit.ask is not None:
        return visit.ask(f"Password of {visit.value('EZMERAL_USER')}: "), ""
    return None, "no EZMERAL_PASSWORD_FILE, and nobody to ask"


def _refused(answer: requests.Response, expected: str, user: str, tenant: str) -> Finding:
    said: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        said = answer.json()
    words = f"{said.get('message', '')} {said.get('hint', '')}".strip() or answer.reason
    cures = {
        401: f"Is it the password of {user}? Try it in a browser; it may have to be changed first.",
        403: f"Make {user} a member of {tenant}, or correct EZMERAL_TENANT; case matters.",
        429: "Wait as long as it says, then run this again.",
    }
    cure = cures.get(answer.status_code, "Ask who runs the platform what this answer means.")
    return missing("Sign-in", expected, f"{answer.status_code}: {words}", cure)


def _sign_out(visit: Visit, location: str) -> None:
    with contextlib.suppress(requests.RequestException):  # it ends by itself, later
        visit.call("DELETE", location)


def membership(visit: Visit) -> Iterator[Finding]:
    """Look which tenant and role the session has, and how long it lasts."""
    answer = visit.call("GET", SESSION)
    answer.raise_for_status()
    found = answer.json()
    visit.session = found
    tenant, role = found.get("tenant_name"), found.get("role_name")
    wanted = visit.value("EZMERAL_TENANT")
    if tenant != wanted:
        yield missing(
            "Tenant",
            f"tenant {wanted}",
            f"tenant {tenant}",
            "Correct EZMERAL_TENANT: upper and lower case matter.",
        )
    elif role != "Member":
        yield advice(
            "Tenant",
            f"a Member of {wanted}",
            f"{role} of {tenant}",
            "The labs are made for Members; lab core-01 shows doors that are open to you. "
            "Run this again with a learner's EZMERAL_USER.",
        )
    else:
        yield ok("Tenant", f"a Member of {wanted}", f"{role} of {tenant}")
    left = float(found["expiry_time"]) - time.time()
    expected = f"sessions of {SHORT_SECONDS / 3600:.0f} hours or more"
    if left < SHORT_SECONDS:
        yield advice(
            "Session",
            expected,
            f"{max(left, 0) / 60:.0f} minutes",
            "It ends in the middle of a class. Ask for longer sessions, or tell the learners: "
            "`from labhelpers.signin import renew; renew()` signs in again, nothing is lost.",
        )
    else:
        yield ok("Session", expected, f"{left / 3600:.0f} hours")
