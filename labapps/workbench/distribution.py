"""A client of OCI registries: manifests and blobs, as the distribution specification has them.

It knows the two ways registries ask who somebody is (basic, and a token that another server gives)
and reads accounts where container tools keep them, in a docker `config.json`. A password goes to
the registry and to its own token server, and to nobody else whom an answer may name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

__all__ = ["Account", "Blob", "Name", "Registry", "RegistryError", "account", "accounts"]

OCI, DOCKER = "application/vnd.oci.image", "application/vnd.docker"
INDEXES = (f"{OCI}.index.v1+json", f"{DOCKER}.distribution.manifest.list.v2+json")
MANIFESTS = (f"{OCI}.manifest.v1+json", f"{DOCKER}.distribution.manifest.v2+json")
ANY = ", ".join(MANIFESTS + INDEXES)
LARGEST = 16 << 20  # of a manifest, a configuration or an answer with a token
TIMEOUT = (10, 300)
PIECE = 1 << 20
PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
CHALLENGE = re.compile(r'([a-zA-Z]+)="([^"]*)"')


class RegistryError(Exception):
    """A registry could not be used; the message says what to do."""


@dataclass(frozen=True)
class Name:
    """The name of an image: its registry, its repository, and a tag or digest.

    >>> Name.parse("registry.example.org/labs/workbench:1.0")
    Name(host='registry.example.org', repository='labs/workbench', reference='1.0', is_plain=False)
    >>> Name.parse("http://registry:5000/models")
    Name(host='registry:5000', repository='models', reference='latest', is_plain=True)
    """

    host: str
    repository: str
    reference: str
    is_plain: bool = False

    @classmethod
    def parse(cls, text: str) -> Name:
        """Read a name as container tools do; `http://` before it means no TLS."""
        scheme, mark, rest = text.partition("://")
        name = rest if mark else text
        host, slash, path = name.partition("/")
        has_host = slash and ("." in host or ":" in host or host == "localhost")
        path, at, digest = path.partition("@")
        path, colon, tag = path.partition(":")
        found = digest if at else tag if colon else "latest"
        is_known = (DIGEST if at else TAG).fullmatch(found)
        is_whole = has_host and PATH.fullmatch(path) and is_known
        if not is_whole or (mark and scheme not in ("http", "https")):
            raise RegistryError(
                "Expected the name of an image with its registry, such as "
                f"registry.example.org/labs/workbench:1.0; found {text!r}."
            )
        # As container tools do: what is on this machine needs no TLS.
        is_here = re.fullmatch(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?", host) is not None
        return cls(host, path, found, scheme == "http" if mark else is_here)

    @property
    def url(self) -> str:
        return f"{'http' if self.is_plain else 'https'}://{self.host}"

    def __str__(self) -> str:
        mark = "@" if DIGEST.fullmatch(self.reference) else ":"
        return f"{self.host}/{self.repository}{mark}{self.reference}"


@dataclass(frozen=True)
class Account:
    """Who asks: a name with a password, or a token in their place."""

    user: str = ""
    password: str = ""
    identity: str = ""  # a refresh token of OAuth 2
    bearer: str = ""

    @property
    def basic(self) -> str:
        if not self.user:
            return ""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def accounts(file: Path) -> dict[str, Any]:
    """Return what a docker `config.json` has of each registry; nothing where there is no file."""
    try:
        found = json.loads(file.read_bytes()).get("auths", {})
        return {str(key): dict(value) for key, value in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RegistryError(
            f"{file.name} of the registry's Secret cannot be read ({error}). Make it with `kubectl "
            "create secret docker-registry <name> --docker-server=… --docker-username=… "
            "--docker-password=…`."
        ) from error


def account(entries: Mapping[str, Any], name: Name) -> Account:
    """Return the account for an image: the entry with most of its name counts.

    >>> account({"r.org": {"username": "a"}, "https://r.org/v1/": {"username": "b"},
    ...          "r.org/labs": {"username": "c"}}, Name.parse("r.org/labs/models")).user
    'c'
    """
    plain = {re.sub(r"^https?://|/(v[12]/?)?$", "", key): value for key, value in entries.items()}
    parts = [name.host, *name.repository.split("/")]
    wanted = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    found: dict[str, Any] = next((plain[key] for key in wanted if key in plain), {})
    user, password = str(found.get("username", "")), str(found.get("password", ""))
    if coded := found.get("auth"):
        try:
            user, _, password = base64.b64decode(coded).decode().partition(":")
        except (ValueError, binascii.Error) as error:
            raise RegistryError(
                f"`auth` of {name.host} in the registry's Secret is not base64 of <user>:<password>"
                f" ({error}); make it with `kubectl create secret docker-registry`."
            ) from error
    return Account(
        user,
        password.rstrip("\0"),
        str(found.get("identitytoken", "")),
        str(found.get("registrytoken", "")),
    )


class _Given(AuthBase):
    """Sends what was agreed; `requests` itself would look for passwords in a file of its own."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.value:
            request.headers["Authorization"] = self.value
        return request


@dataclass
class Blob:
    """A blob that is read while it is sent on: it is nowhere kept."""

    source: IO[bytes] | Any
    size: int

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(PIECE):
            yield piece

    def read(self, count: int = -1) -> bytes:
        piece: bytes = self.source.read(PIECE if count < 0 else count)
        return piece


class Registry:
    """One registry, asked as one account.

    `scopes` are what a token is asked for, all at once: to pull from one repository and push to
    another needs both. `trust` is a file of certificates in place of the machine's own.
    """

    def __init__(self, name: Name, who: Account, scopes: list[str], trust: str = "") -> None:
        self.host, self.url, self.account, self.scopes = name.host, name.url, who, scopes
        self.verify: str | bool = trust or True
        self.session = requests.Session()
        self.authorization = ""

    def close(self) -> None:
        self.session.close()

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str] | None:
        """Return a manifest and its media type; none where there is no such image."""
        path = f"/v2/{repository}/manifests/{reference}"
        reply = self.ask("GET", path, 200, 404, headers={"Accept": ANY})
        if reply.status_code == 404:
            return None
        kind = reply.headers.get("Content-Type", "").partition(";")[0].strip()
        return self._whole(reply, reference), kind

    def put_manifest(self, repository: str, tag: str, content: bytes, kind: str) -> None:
        path, headers = f"/v2/{repository}/manifests/{tag}", {"Content-Type": kind}
        self.ask("PUT", path, 201, 200, body=lambda: content, headers=headers)

    def blob(self, repository: str, digest: str) -> bytes:
        """Return a small blob, such as a configuration."""
        return self._whole(self.ask("GET", f"/v2/{repository}/blobs/{digest}", 200), digest)

    @contextmanager
    def stream(self, repository: str, digest: str, size: int) -> Iterator[Blob]:
        """Open a blob of any size; who stores it looks whether it has this digest."""
        with self.ask("GET", f"/v2/{repository}/blobs/{digest}", 200, stream=True) as reply:
            yield Blob(reply.raw, size)

    def has(self, repository: str, digest: str) -> bool:
        path = f"/v2/{repository}/blobs/{digest}"
        return self.ask("HEAD", path, 200, 404).status_code == 200

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Have a blob of another repository here, too; return whether the registry did that."""
        query = f"mount={digest}&from={source}"
        reply = self.ask("POST", f"/v2/{repository}/blobs/uploads/?{query}", 201, 202)
        if reply.status_code == 202 and (place := reply.headers.get("Location")):
            self.ask("DELETE", place, 200, 204, 404, 405)  # an upload was begun in its place
        return reply.status_code == 201

    def upload(self, repository: str, digest: str, body: Callable[[], Any]) -> None:
        """Store a blob; the registry refuses one that has not this digest."""
        reply = self.ask("POST", f"/v2/{repository}/blobs/uploads/", 202)
        place = urljoin(f"{self.url}/", reply.headers.get("Location", ""))
        place += f"{'&' if urlsplit(place).query else '?'}digest={digest}"
        headers = {"Content-Type": "application/octet-stream"}
        self.ask("PUT", place, 201, body=body, headers=headers)

    def ask(
        self,
        verb: str,
        path: str,
        *good: int,
        body: Callable[[], Any] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request; say who asks when the registry wants to know."""
        url = urljoin(f"{self.url}/", path)
        # An answer may name a place on another host: it is not told who asks.
        is_own = url.startswith(f"{self.url}/")
        for is_last in (False, True):
            given = self.authorization if is_own else ""
            reply = self._send(verb, url, given, body, headers, stream)
            if reply.status_code != 401 or not is_own or is_last:
                break
            self.authorization = self._agree(reply)
        if reply.status_code in good:
            return reply
        raise self._refused(reply, verb, path)

    def _send(
        self,
        verb: str,
        url: str,
        given: str,
        body: Callable[[], Any] | None,
        headers: Mapping[str, str] | None,
        stream: bool,
    ) -> requests.Response:
        # Without `identity` a server may pack a layer once more, and its digest would differ.
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        try:
            return self.session.request(
                verb,
                url,
                data=body() if body else None,
                headers=sent,
                auth=_Given(given),
                stream=stream,
                timeout=TIMEOUT,
                verify=self.verify,
                allow_redirects=verb in ("GET", "HEAD"),
            )
        except requests.exceptions.SSLError as error:
            raise RegistryError(
                f"The registry {self.host} has no certificate that is trusted here ({error}). Put "
                "that of its authority into the registry's Secret as ca.crt; for a registry "
                "without TLS begin WORKBENCH_MODEL_IMAGES with http://."
            ) from error
        except requests.RequestException as error:
            raise RegistryError(
                f"The registry {self.host} does not answer ({error}). Look whether its name in "
                "WORKBENCH_MODEL_IMAGES and WORKBENCH_RUNTIMES is right, and whether pods of this "
                "namespace may connect to it."
            ) from error

    def _agree(self, reply: requests.Response) -> str:
        """Return the Authorization that a refusal asks for."""
        kind, _, words = reply.headers.get("WWW-Authenticate", "").partition(" ")
        asked = {name.lower(): value for name, value in CHALLENGE.findall(words)}
        if kind.lower() == "basic":
            return self.account.basic
        if kind.lower() != "bearer" or not asked.get("realm"):
            raise RegistryError(
                f"The registry {self.host} asks for {kind or 'nothing known'}; expected basic or "
                "bearer authentication."
            )
        return f"Bearer {self.account.bearer or self._token(asked)}"

    def _token(self, asked: Mapping[str, str]) -> str:
        """Ask the token server that the registry names."""
        realm, who = asked["realm"], self.account
        if self.url.startswith("https:") and not realm.startswith("https:"):
            raise RegistryError(
                f"The registry {self.host} names a token server without TLS, {realm}; no password "
                "is sent there. Mend the registry's configuration."
            )
        scopes = " ".join(self.scopes)
        if who.identity:
            form = {"grant_type": "refresh_token", "refresh_token": who.identity}
            form |= {"client_id": "workbench", "service": asked.get("service", "")}
            reply = self._send("POST", realm, "", lambda: form | {"scope": scopes}, None, False)
        else:
            query = [("service", asked["service"])] if asked.get("service") else []
            query += [("scope", scope) for scope in self.scopes]
            url = requests.Request("GET", realm, params=query).prepare().url or realm
            reply = self._send("GET", url, who.basic, None, None, False)
        if reply.status_code != 200:
            raise self._refused(reply, "GET", realm)
        try:
            found = json.loads(self._whole(reply, ""))
            token = found.get("token") or found.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not token:
            raise RegistryError(f"The token server {realm} of {self.host} sent no token.")
        return str(token)

    def _whole(self, reply: requests.Response, digest: str) -> bytes:
        content = reply.content
        if len(content) > LARGEST:
            raise RegistryError(f"An answer of {self.host} is larger than {LARGEST} bytes.")
        found = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if DIGEST.fullmatch(digest) and found != digest:
            raise RegistryError(f"The registry {self.host} sent {found} for {digest}.")
        return content

    def _refused(self, reply: requests.Response, verb: str, path: str) -> RegistryError:
        try:
            found = json.loads(reply.content[:LARGEST])
            problems = found.get("errors") or [{"message": found.get("details", "")}]
            why = "; ".join(f"{p.get('code', '')} {p.get('message', '')}".strip() for p in problems)
        except (ValueError, AttributeError, TypeError):
            why = " ".join(reply.text[:200].split())
        why = f"{reply.status_code} {why}".strip()
        if reply.status_code in (401, 403):
            who = self.account.user or "somebody without an account"
            return RegistryError(
                f"The registry {self.host} refuses {verb} {urlsplit(path).path} to {who} ({why}). "
                "Make a Secret with an account that may pull the runtime and push the image: "
                "`kubectl create secret docker-registry models --docker-server="
                f"{self.host} --docker-username=… --docker-password=…`, and name it in "
                "WORKBENCH_MODEL_IMAGES_SECRET."
            )
        return RegistryError(
            f"The registry {self.host} answered {why} to {verb} {urlsplit(path).path}."
        )
