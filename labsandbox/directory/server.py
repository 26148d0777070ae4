"""The LDAP server itself: runs in the environment `directory`, which has ldaptor.

    python server.py people.ldif cert.pem key.pem 127.0.0.1 6360

Read-only. Nobody searches before a bind, and nobody reads a password's hash. It imports nothing of
ours: its environment has none of it.
"""

from __future__ import annotations

import sys
from typing import Any

from ldaptor.inmemory import fromLDIFFile
from ldaptor.interfaces import IConnectedLDAPEntry
from ldaptor.protocols import pureldap
from ldaptor.protocols.ldap import ldaperrors
from ldaptor.protocols.ldap.ldapserver import LDAPServer
from twisted.internet import reactor, ssl
from twisted.internet.protocol import ServerFactory
from twisted.python import components

PRIVATE = b"userPassword"


class Directory(LDAPServer):
    """One connection: bind, search, unbind."""

    def handle_LDAPBindRequest(self, request: Any, controls: Any, reply: Any) -> Any:
        # RFC 4513 5.1.2: a bind with a name and no password proves nothing, so it is refused.
        if not request.dn or not request.auth:
            raise ldaperrors.LDAPInappropriateAuthentication("A name and a password are needed.")
        return super().handle_LDAPBindRequest(request, controls, reply)

    def handle_LDAPSearchRequest(self, request: Any, controls: Any, reply: Any) -> Any:
        if self.boundUser is None:
            raise ldaperrors.LDAPInsufficientAccessRights("Bind first.")

        def send(answer: Any) -> None:
            if isinstance(answer, pureldap.LDAPSearchResultEntry):
                answer.attributes = [
                    (name, values)
                    for name, values in answer.attributes
                    if name.lower() != PRIVATE.lower()
                ]
            reply(answer)

        if PRIVATE.lower() in request.filter.toWire().lower():
            raise ldaperrors.LDAPInsufficientAccessRights("Passwords are not searched for.")
        return super().handle_LDAPSearchRequest(request, controls, send)

    def refuse(self, request: Any, controls: Any, reply: Any) -> Any:
        """Refuse what would change something."""
        raise ldaperrors.LDAPUnwillingToPerform("This directory is read-only.")

    handle_LDAPAddRequest = refuse
    handle_LDAPCompareRequest = refuse
    handle_LDAPDelRequest = refuse
    handle_LDAPModifyDNRequest = refuse
    handle_LDAPModifyRequest = refuse


class Factory(ServerFactory):
    """Gives each connection the one tree."""

    protocol = Directory

    def __init__(self, tree: Any) -> None:
        self.tree = tree


def main(ldif: str, certificate: str, key: str, host: str, port: str) -> None:
    """Serve until the process is ended."""
    components.registerAdapter(lambda factory: factory.tree, Factory, IConnectedLDAPEntry)
    context = ssl.DefaultOpenSSLContextFactory(key, certificate)

    def serve(tree: Any) -> None:
        reactor.listenSSL(int(port), Factory(tree), context, interface=host)
        print(f"the directory listens on {host}:{port}", flush=True)

    def fail(failure: Any) -> None:
        print(f"the directory could not start: {failure.getErrorMessage()}", file=sys.stderr)
        reactor.stop()

    def start() -> None:
        with open(ldif, "rb") as file:
            fromLDIFFile(file).addCallbacks(serve, fail)

    reactor.callWhenRunning(start)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
