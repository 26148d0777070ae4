"""An S3 server on a folder that asks for its key; runs in the environment `tracking` only.

`localbucket` speaks S3 and checks no credentials. Here each request's signature (AWS Signature
Version 4) is computed again with the key from the environment; only the same one is served.

python -m labapps.mlflow.bucket FOLDER HOST PORT
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import logging
import os
import re
import sys
from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["is_signed", "main"]

SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,]+)/(?P<scope>(?P<day>\d{8})/(?P<region>[^/,]+)/s3/"
    r"aws4_request), ?SignedHeaders=(?P<names>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def is_signed(method: str, target: str, headers: Mapping[str, str], key: str, secret: str) -> bool:
    """Tell whether a request carries the signature that this key makes."""
    found = SIGNED.fullmatch(headers.get("Authorization", ""))
    if not found or not hmac.compare_digest(found["key"], key):
        return False
    names = found["names"].split(";")
    if "host" not in names or "x-amz-content-sha256" not in names or "x-amz-date" not in names:
        return False
    path, _, query = target.partition("?")
    pairs = sorted(_encoded(pair) for pair in query.split("&") if pair)
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}" for name in names]
    body = headers.get("x-amz-content-sha256", "")
    asked = [method, path, "&".join(pairs), *lines, "", found["names"], body]
    hashed = hashlib.sha256("\n".join(asked).encode()).hexdigest()
    stamp = headers.get("x-amz-date", "")
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, found["scope"], hashed])
    signing = f"AWS4{secret}".encode()
    for part in (found["day"], found["region"], "s3", "aws4_request"):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    made = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(made, found["signature"])


def _encoded(pair: str) -> str:
    name, _, value = pair.partition("=")
    return "=".join(quote(unquote(one), safe="-_.~") for one in (name, value))


def handler(folder: Path, key: str, secret: str) -> Any:
    """Return localbucket's handler for a folder, behind the check."""
    local: Any = importlib.import_module("localbucket")
    served = folder

    class Signed(local.S3Handler):  # type: ignore[misc]
        data_root = served

        def _dispatch(self, action: Any) -> None:
            if not is_signed(self.command, self.path, self.headers, key, secret):
                error = local.S3Error(403, "AccessDenied", "The signature is missing or wrong.")
                self._send_error(error)
                return
            super()._dispatch(action)

    return Signed


def main() -> None:
    """Serve until the end of the process."""
    folder, host, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    logging.basicConfig(level=logging.WARNING)
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadingHTTPServer((host, port), handler(folder.resolve(), key, secret)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
