"""A real registry of images for a test (Debian's docker-registry), and what is pushed to it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.labapps.pods import address, eventually
from tests.labapps.tls import certificate as tls_files

Json = dict[str, Any]
USER, PASSWORD = "pusher", "a password"
HTPASSWD = "pusher:$2y$04$u5MuevyAYoHlDsUlN0G0QOJpToKzLx3EwqDnGhvfRSsQRao6H5oG2"
OCI, DOCKER = "application/vnd.oci.image", "application/vnd.docker"
KINDS = {
    "oci": (f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar+gzip"),
    "docker": (
        f"{DOCKER}.distribution.manifest.v2+json",
        f"{DOCKER}.container.image.v1+json",
        f"{DOCKER}.image.rootfs.diff.tar.gzip",
    ),
}
INDEX = {
    "oci": f"{OCI}.index.v1+json",
    "docker": f"{DOCKER}.distribution.manifest.list.v2+json",
}


def needed(*programs: str) -> pytest.MarkDecorator:
    """Skip a test on a machine without these programs of Debian."""
    missing = " ".join(name for name in programs if shutil.which(name) is None)
    return pytest.mark.skipif(bool(missing), reason=f"needs `apt-get install {missing}`")


class Registry:
    """A registry on an address of its own; `tokens` makes a token server guard it."""

    def __init__(
        self,
        folder: Path,
        *,
        password: bool = False,
        tls: bool = False,
        tokens: Tokens | None = None,
    ) -> None:
        self.folder, self.address = folder, address()
        self.host = f"{self.address}:5000"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.session = requests.Session()
        self.session.trust_env = False
        http: Json = {"addr": self.host, "secret": "of this test"}
        config: Json = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": http,
        }
        folder.mkdir(parents=True, exist_ok=True)
        if password:
            (folder / "htpasswd").write_text(HTPASSWD + "\n")
            config["auth"] = {"htpasswd": {"realm": "r", "path": str(folder / "htpasswd")}}
            self.session.auth = (USER, PASSWORD)
        if tokens:
            (folder / "tokens.pem").write_bytes(tokens.certificate)
            config["auth"] = {
                "token": {
                    "realm": tokens.url,
                    "service": "registry of a test",
                    "issuer": "token server of a test",
                    "rootcertbundle": str(folder / "tokens.pem"),
                }
            }
        if tls:
            certificate, key = tls_files(folder, self.address)
            http["tls"] = {"certificate": str(certificate), "key": str(key)}
            self.session.verify = str(certificate)
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Registry:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(self.folder / "config.yml")],
                stdout=log,
                stderr=log,
            )
        eventually(
            f"the registry ({self.folder}/log)",
            lambda: self.session.get(f"{self.url}/v2/", timeout=5).status_code in (200, 401),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def ask(self, verb: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(verb, f"{self.url}/v2/{path}", timeout=60, **more)

    def put(self, repository: str, content: bytes) -> Json:
        """Store a blob; return how a manifest names it."""
        place = self.ask("POST", f"{repository}/blobs/uploads/").headers["Location"]
        digest = digest_of(content)
        reply = self.session.put(f"{place}&digest={digest}", data=content, timeout=60)
        assert reply.status_code == 201, reply.text
        return {"digest": digest, "size": len(content)}

    def manifest(self, repository: str, tag: str) -> Json | None:
        accept = ", ".join([kinds[0] for kinds in KINDS.values()] + list(INDEX.values()))
        reply = self.ask("GET", f"{repository}/manifests/{tag}", headers={"Accept": accept})
        return dict(reply.json()) if reply.status_code == 200 else None

    def blob(self, repository: str, digest: str) -> bytes:
        reply = self.ask("GET", f"{repository}/blobs/{digest}")
        assert reply.status_code == 200, reply.text
        return bytes(reply.content)

    def tags(self, repository: str) -> list[str]:
        return sorted(self.ask("GET", f"{repository}/tags/list").json().get("tags") or [])

    def image(
        self,
        repository: str,
        tag: str,
        files: dict[str, bytes],
        *,
        kind: str = "oci",
        machine: str = "amd64",
        at: str = "",
    ) -> str:
        """Push an image with a layer for each file; return its digest."""
        manifest_kind, config_kind, layer_kind = KINDS[kind]
        layers, diffs = [], []
        for name, content in files.items():
            plain = archive({name: content})
            diffs.append(digest_of(plain))
            packed = gzip.compress(plain, mtime=0)
            layers.append({"mediaType": layer_kind, **self.put(repository, packed)})
        config = {
            "os": "linux",
            "architecture": machine,
            "config": {"Env": ["PATH=/usr/bin:/bin"], "Labels": {"made": "by a test"}},
            "rootfs": {"type": "layers", "diff_ids": diffs},
            "history": [{"created_by": "a test"}] * len(layers),
        }
        made = self.put(repository, json.dumps(config).encode())
        body = {
            "schemaVersion": 2,
            "mediaType": manifest_kind,
            "config": {"mediaType": config_kind, **made},
            "layers": layers,
        }
        return self.name(repository, at or tag, body)

    def index(self, repository: str, tag: str, found: dict[str, str], kind: str = "oci") -> None:
        """Push an index of the images of some machines."""
        entries = []
        for machine, digest in found.items():
            size = len(self.ask("GET", f"{repository}/manifests/{digest}",
                                headers={"Accept": KINDS[kind][0]}).content)  # fmt: skip
            entries.append(
                {
                    "mediaType": KINDS[kind][0],
                    "digest": digest,
                    "size": size,
                    "platform": {"os": "linux", "architecture": machine},
                }
            )
        body = {"schemaVersion": 2, "mediaType": INDEX[kind], "manifests": entries}
        self.name(repository, tag, body)

    def name(self, repository: str, tag: str, body: Json) -> str:
        content = json.dumps(body).encode()
        headers = {"Content-Type": body["mediaType"]}
        reply = self.ask("PUT", f"{repository}/manifests/{tag}", data=content, headers=headers)
        assert reply.status_code == 201, reply.text
        return digest_of(content)


class Tokens:
    """A token server: whoever knows the password gets what they ask for, others nothing."""

    def __init__(self, folder: Path) -> None:
        certificate, key = tls_files(folder, "127.0.0.1")
        self.key = serialization.load_pem_private_key(key.read_bytes(), None)
        self.certificate = certificate.read_bytes()
        own = x509.load_pem_x509_certificate(self.certificate)
        self.chain = [base64.b64encode(own.public_bytes(serialization.Encoding.DER)).decode()]
        self.asked: list[Json] = []
        self.server = ThreadingHTTPServer((address(), 5001), self.handler())
        host, port = self.server.server_address[:2]
        self.url = f"http://{host!s}:{port}/token"

    def __enter__(self) -> Tokens:
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                given = self.headers.get("Authorization", "")
                known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                self.answer(query, given == f"Basic {known}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                query = parse_qs(body)
                is_known = query["refresh_token"] == ["an identity"]
                scopes = query["scope"][0].split()
                self.answer(query | {"scope": scopes}, is_known)

            def answer(self, query: dict[str, list[str]], is_known: bool) -> None:
                tokens.asked.append({"scope": query["scope"], "is_known": is_known})
                body = json.dumps({"token": tokens.token(query["scope"] if is_known else [])})
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def token(self, scopes: list[str]) -> str:
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        head = {"typ": "JWT", "alg": "ES256", "x5c": self.chain}
        claims = {
            "iss": "token server of a test",
            "aud": "registry of a test",
            "sub": USER,
            "iat": now,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
            "access": access,
        }
        words = ".".join(plain(json.dumps(part).encode()) for part in (head, claims))
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        signature = self.key.sign(words.encode(), ec.ECDSA(hashes.SHA256()))
        both = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(signature))
        return f"{words}.{plain(both)}"


def plain(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def archive(files: dict[str, bytes]) -> bytes:
    """Return a .tar of some files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def docker_config(folder: Path, host: str, **account: str) -> Path:
    """Write what a Secret of the type kubernetes.io/dockerconfigjson is mounted as."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"auths": {host: account}}
    (folder / ".dockerconfigjson").write_text(json.dumps(config))
    return folder
