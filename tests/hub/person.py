"""Somebody at a browser: real forms, cookies and websockets, nothing of JupyterHub's own code."""

from __future__ import annotations

import contextlib
import html
import json
import re
import ssl
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from websockets.sync.client import ClientConnection, connect

_FIELD = re.compile(r'<input[^>]*name="_xsrf"[^>]*value="([^"]*)"')


class Person:
    """One person's browser at one hub."""

    def __init__(self, url: str, name: str, password: str, ca: Path | None = None) -> None:
        self.url, self.name, self.password = url.rstrip("/"), name, password
        self.http = requests.Session()
        self.http.trust_env = False
        if ca:
            self.http.verify = str(ca)

    def sign_in(self, path: str = "/hub/home") -> requests.Response:
        """Open a page of the hub and fill in the form that stands before it."""
        page = self.http.get(self.url + path, timeout=30)
        found = _FIELD.search(page.text)
        assert found is not None, f"no form with a token at {page.url}: {page.status_code}"
        form = {
            "username": self.name,
            "password": self.password,
            "_xsrf": html.unescape(found.group(1)),
        }
        return self.http.post(page.url, data=form, timeout=30)

    def start_server(self, deadline: float = 60.0) -> None:
        """Ask for the own server and wait until it answers."""
        self.http.get(f"{self.url}/hub/spawn", timeout=60)
        self.until_served(deadline)

    def stop_server(self) -> None:
        """Stop the own server, as the button of the hub's home page does it."""
        token = self.http.cookies.get("_xsrf", path="/hub/") or ""
        url = f"{self.url}/hub/api/users/{self.name}/server"
        headers = {"X-XSRFToken": token, "Referer": f"{self.url}/hub/home"}
        answer = self.http.delete(url, headers=headers, timeout=60)
        assert answer.status_code in (202, 204), answer.text

    def until_served(self, deadline: float = 60.0) -> None:
        """Wait until the own server shows JupyterLab; the hub signs this browser in to it."""
        end, last = time.monotonic() + deadline, "nothing"
        while time.monotonic() < end:
            with contextlib.suppress(requests.ConnectionError):  # a proxy that was killed
                page = self.http.get(f"{self.base}/lab", timeout=60)
                last = f"{page.status_code} at {page.url}"
                if page.ok and page.url.startswith(self.base):
                    return
            time.sleep(0.3)
        raise AssertionError(f"no server for {self.name}: {last}")

    @property
    def base(self) -> str:
        """Return the address of the own server."""
        return f"{self.url}/user/{self.name}"

    @property
    def _token(self) -> dict[str, str]:
        token = self.http.cookies.get("_xsrf", path=f"/user/{self.name}/") or ""
        return {"X-XSRFToken": token, "Referer": f"{self.base}/lab"}

    def get(self, path: str, base: str | None = None) -> requests.Response:
        """Get something of the own server, or of another's."""
        return self.http.get(f"{base or self.base}/{path}", headers=self._token, timeout=60)

    def post(self, path: str, body: Any = None) -> Any:
        """Post JSON to the own server and return what it answers."""
        answer = self.http.post(
            f"{self.base}/{path}", json=body or {}, headers=self._token, timeout=60
        )
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    def socket(self, path: str, **more: Any) -> contextlib.AbstractContextManager[ClientConnection]:
        """Return a websocket of the own server, to be used in a `with`."""
        parts = urlsplit(self.base)
        more.setdefault("open_timeout", 120)  # a kernel starts slowly on a busy host
        url = parts._replace(scheme=parts.scheme.replace("http", "ws")).geturl()
        prepared = requests.Request("GET", f"{self.base}/{path}")
        cookie = self.http.prepare_request(prepared).headers.get("Cookie", "")
        headers = {"Cookie": cookie, "Origin": self.url}
        if url.startswith("wss"):
            more["ssl"] = ssl.create_default_context(cafile=str(self.http.verify))
        return connect(f"{url}/{path}", additional_headers=headers, max_size=None, **more)

    def end(self, kernel: Kernel) -> None:
        """Shut a kernel down."""
        url = f"{self.base}/api/kernels/{kernel.id}"
        assert self.http.delete(url, headers=self._token, timeout=60).status_code == 204

    def reopened(self, kernel: Kernel) -> Kernel:
        """Return the same kernel on a new websocket."""
        return Kernel(self, kernel.id)

    def kernel(self, notebook: str = "") -> Kernel:
        """Start a kernel, in the folder of a notebook where one is named."""
        made = self.post("api/kernels", {"name": "python3", "path": notebook})
        return Kernel(self, made["id"])


class Kernel:
    """A kernel, talked to as JupyterLab does it in its plainer protocol."""

    def __init__(self, person: Person, identifier: str) -> None:
        self.id = identifier
        self.failed = False  # whether what ran last ended in an error
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(person.socket(f"api/kernels/{identifier}/channels"))

    def run(self, code: str, deadline: float = 60.0, answer: str = "") -> str:
        """Run code and return what it printed, its error included; `answer` goes to its input."""
        sent = uuid.uuid4().hex
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": True}
        self._send("shell", "execute_request", content | {"user_expressions": {}}, sent)
        said, replied, idle, self.failed = [], False, False, False
        end = time.monotonic() + deadline
        while not (replied and idle):
            message = json.loads(self._socket.recv(timeout=max(end - time.monotonic(), 0.1)))
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "stream":
                said.append(content["text"])
            elif kind == "error":
                self.failed = True
                said.append(f"{content['ename']}: {content['evalue']}")
            elif kind == "input_request":
                self._send("stdin", "input_reply", {"value": answer}, uuid.uuid4().hex)
            replied |= kind == "execute_reply"
            idle |= kind == "status" and content["execution_state"] == "idle"
        return "".join(said).strip()

    def _send(self, channel: str, kind: str, content: dict[str, Any], sent: str) -> None:
        header = {
            "msg_id": sent,
            "msg_type": kind,
            "username": "",
            "session": self.id,
            "version": "5.4",
            "date": "2025-01-01T00:00:00Z",
        }
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self._socket.send(json.dumps(message | {"channel": channel, "buffers": []}))

    def close(self) -> None:
        """Hang up; the kernel goes on."""
        self._open.close()
