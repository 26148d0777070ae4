"""git over HTTP: the three requests of its smart protocol, for whoever has the cluster's token.

git sends a user name and a password; the password is the token, as with the access tokens of public
hosts, and the name decides nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import zlib

from labapps.gitserver.repositories import Repositories
from labapps.web.asgi import Problem, Reply, Request

__all__ = ["Service"]

READ, WRITE = "git-upload-pack", "git-receive-pack"
MOST_BYTES = 64 * 2**20


class Service:
    """What the server answers."""

    def __init__(self, repositories: Repositories, tokens: frozenset[str]) -> None:
        self.repositories, self.tokens = repositories, tokens

    async def handle(self, request: Request) -> Reply:
        """Answer one request."""
        user = self._require_token(request)
        match (request.method, request.segments):
            case ("GET", []):
                return Reply.json({"repositories": self.repositories.names()})
            case ("GET", [file, "info", "refs"]):
                service = request.query.get("service", "")
                return await self._git(request, file, "info/refs", service, user)
            case ("POST", [file, service]):
                return await self._git(request, file, service, service, user)
        raise Problem(404, "Expected an address such as /labs.git; `git clone` asks the rest.")

    async def _git(self, request: Request, file: str, path: str, service: str, user: str) -> Reply:
        if service not in (READ, WRITE) or not file.endswith(".git"):
            raise Problem(404, "Expected git's own requests for /NAME.git over HTTP.")
        await self.repositories.find(file.removesuffix(".git"), make=service == WRITE)
        body = await request.body(MOST_BYTES)
        if request.header(b"content-encoding") == "gzip":
            body = _unpack(body)
        found = await self.repositories.ask(
            {
                "REQUEST_METHOD": request.method,
                "PATH_INFO": f"/{file}/{path}",
                "QUERY_STRING": f"service={service}" if path == "info/refs" else "",
                "CONTENT_TYPE": request.header(b"content-type"),
                "CONTENT_LENGTH": str(len(body)),
                "GIT_PROTOCOL": request.header(b"git-protocol"),
                "REMOTE_USER": user,  # without a name git takes no push
            },
            body,
        )
        return Reply(found.status, found.body, found.kind.encode())

    def _require_token(self, request: Request) -> str:
        """Return the user's name, or refuse a request without the token."""
        scheme, _, value = request.header(b"authorization").partition(" ")
        try:
            pair = base64.b64decode(value, validate=True).decode() if scheme == "Basic" else ""
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        user, _, given = pair.partition(":")
        given = given or request.header(b"x-auth-token")
        if True not in {hmac.compare_digest(given.encode(), one.encode()) for one in self.tokens}:
            error = Problem(
                401,
                "Expected the token of this git server as password, found "
                f"{'another one' if given else 'none'}. It is the annotation "
                "kubedirector.hpe.com/kd-auth-token of the server's service.",
            )
            error.headers.append((b"www-authenticate", b'Basic realm="git"'))
            raise error
        return user or "git"


def _unpack(body: bytes) -> bytes:
    """Unpack what git compressed, as far as the limit."""
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(body, MOST_BYTES)
    except zlib.error as error:
        raise Problem(400, f"Expected a gzip body, found {error}.") from error
    if unpacker.unconsumed_tail:
        raise Problem(413, f"Expected at most {MOST_BYTES} bytes when unpacked, found more.")
    return content
