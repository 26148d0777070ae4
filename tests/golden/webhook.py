"""The admission webhook the recordings talk to, with a certificate from a CA of its own."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PORT = 19443
INJECTION = [{"op": "add", "path": "/data/injected", "value": "yes"}]


def answer_review(path: str, review: dict[str, Any]) -> dict[str, Any] | None:
    """Decide as the recorded webhook did; None stands for a plain HTTP 500."""
    request = review["request"]
    name = request.get("name") or (request.get("object") or {}).get("metadata", {}).get("name", "")
    response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    if "mutate" in path:
        patch = base64.b64encode(json.dumps(INJECTION).encode()).decode()
        response |= {"patchType": "JSONPatch", "patch": patch}
    elif name == "deny":
        response |= {"allowed": False, "status": {"message": "name deny is not allowed"}}
    elif name == "deny418":
        status = {"code": 418, "message": "teapot", "reason": "Teapot"}
        response |= {"allowed": False, "status": status}
    elif name == "denynomsg":
        response["allowed"] = False
    elif name == "warn":
        response["warnings"] = ["be careful"]
    elif name == "baduid":
        response["uid"] = "x"
    elif name == "slow":
        # Longer than the webhook's timeout of 2 s, which is the case recorded.
        threading.Event().wait(3)
    elif name == "http500":
        return None
    return response


class Webhook:
    """Answers AdmissionReviews on a loopback port and keeps what it was sent."""

    def __init__(self, port: int = PORT) -> None:
        self.received: list[dict[str, Any]] = []
        self.authority, certificate, key = issue()
        log = self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                return

            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                log.append({"path": self.path, "headers": dict(self.headers), "body": review})
                response = answer_review(self.path, review)
                if response is None:
                    self.reply(500, b"oops", "text/plain")
                    return
                document = {
                    "apiVersion": "admission.k8s.io/v1",
                    "kind": "AdmissionReview",
                    "response": response,
                }
                self.reply(200, json.dumps(document).encode(), "application/json")

            def reply(self, status: int, body: bytes, kind: str) -> None:
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

        class Quiet(http.server.ThreadingHTTPServer):
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                return

        try:
            self._server = Quiet(("127.0.0.1", port), Handler)
        except OSError:  # another replay on this machine has it; addresses are substituted
            self._server = Quiet(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "pair.pem"
            pair.write_bytes(certificate + key)
            context.load_cert_chain(pair)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port, as configurations carry them."""
        return f"127.0.0.1:{self.port}"

    @property
    def bundle(self) -> str:
        """The CA as a webhook configuration carries it."""
        return base64.b64encode(self.authority).decode()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def serving(port: int = PORT) -> Iterator[Webhook]:
    """Run a webhook for the length of a block."""
    webhook = Webhook(port)
    try:
        yield webhook
    finally:
        webhook.close()


def issue() -> tuple[bytes, bytes, bytes]:
    """Make a CA and a serving certificate for 127.0.0.1; return CA, certificate and key as PEM."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("golden webhook CA")
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        _certificate(_name("webhook"), authority_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return (
        authority.public_bytes(pem),
        certificate.public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
