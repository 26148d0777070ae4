"""Sends a request byte for byte as recorded: odd methods, odd paths, no header added."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# What the recording client sent besides the recorded headers; it names the field manager.
AGENT = "python-urllib3/2.5.0"


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: Any
    raw: bytes = b""


class Wire:
    """One server address and how to trust it."""

    def __init__(self, url: str, ca: str | None) -> None:
        parts = urllib.parse.urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self._kept: http.client.HTTPConnection | None = None

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """Open a new connection."""
        if self.tls is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)

    def send(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """Send one request over the kept connection and read the whole answer."""
        for attempt in (1, 2):
            fresh = self._kept is None
            connection = self._kept or self.connect(timeout)
            self._kept = connection
            try:
                _write(connection, method, path, query, headers or {}, body)
                response = connection.getresponse()
                raw = response.read()
            except (http.client.HTTPException, OSError):
                self.close()
                if fresh or attempt == 2:
                    raise
                continue
            if response.will_close:
                self.close()
            return _answer(response, raw)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the kept connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def watch(
        self,
        path: str,
        query: str,
        headers: dict[str, str],
        seconds: float,
        enough: Callable[[list[Any]], bool],
        opened: Callable[[], None],
    ) -> Answer:
        """Open a watch, call ``opened`` once it answers, and collect its events."""
        connection = self.connect(seconds)
        deadline = time.monotonic() + seconds
        events: list[Any] = []
        try:
            _write(connection, "GET", path, query, headers, None)
            with contextlib.closing(connection.getresponse()) as response:
                opened()
                with contextlib.suppress(TimeoutError, socket.timeout, http.client.IncompleteRead):
                    while time.monotonic() < deadline and not enough(events):
                        if connection.sock is not None:
                            connection.sock.settimeout(max(0.05, deadline - time.monotonic()))
                        line = response.readline()
                        if not line:
                            break
                        if line.strip():
                            events.append(_parse(line.rstrip(b"\r\n")))
            return Answer(response.status, _headers(response), events)
        finally:
            connection.close()


def _write(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes | None,
) -> None:
    target = urllib.parse.quote(path, safe="/%:@!$&'()*+,;=~-._")
    connection.putrequest(
        method, f"{target}?{query}" if query else target, skip_accept_encoding=True
    )
    present = {name.lower() for name in headers}
    for name, value in headers.items():
        connection.putheader(name, value)
    if "accept-encoding" not in present:
        connection.putheader("Accept-Encoding", "identity")
    if "user-agent" not in present:
        connection.putheader("User-Agent", AGENT)
    if body is not None or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders(body)


def _answer(response: http.client.HTTPResponse, raw: bytes) -> Answer:
    headers = _headers(response)
    if headers.get("Content-Encoding") == "gzip":
        raw = gzip.decompress(raw)
    return Answer(response.status, headers, _parse(raw), raw)


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in response.getheaders():
        title = "-".join(part.capitalize() for part in name.split("-"))
        merged[title] = f"{merged[title]}, {value}" if title in merged else value
    return merged


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def encode_query(decoded: str) -> str:
    """Encode a recorded (decoded) query again; a value holding ``&`` cannot be told apart."""
    pairs = (part.partition("=") for part in decoded.split("&") if part)
    return "&".join(
        urllib.parse.quote(key, safe="")
        + (("=" + urllib.parse.quote(value, safe="")) if eq else "")
        for key, eq, value in pairs
    )
