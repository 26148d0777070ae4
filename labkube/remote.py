"""Run code in the kernel of another Jupyter server, as its own page in a browser does.

A kernel is started over REST, spoken to over a WebSocket, and ended. The session is one that has
signed in: its cookies say who asks.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from typing import Any

import requests

from labkube.errors import KubeError

__all__ = ["KernelFailed", "run"]


class KernelFailed(KubeError):
    """The code that another server's kernel ran ended in an error."""


def run(
    http: requests.Session, address: str, code: str, seconds: float = 120, *, advice: str = ""
) -> str:
    """Run code in a new kernel of a Jupyter server; return what it printed.

    When it ends in an error, `advice` is the last sentence of what is raised.
    """
    import websocket  # at first use: few labs need it

    http.headers["X-XSRFToken"] = http.cookies.get("_xsrf") or ""
    answer = http.post(f"{address}/api/kernels", json={"name": "python3"}, timeout=60)
    answer.raise_for_status()
    kernel = f"{address}/api/kernels/{answer.json()['id']}"
    cookie = "; ".join(f"{one.name}={one.value}" for one in http.cookies)
    try:
        socket = websocket.create_connection(
            kernel.replace("http", "ws", 1) + "/channels",
            timeout=seconds,
            cookie=cookie,
            sslopt={"ca_certs": str(http.verify)},
            http_no_proxy=["*"],
        )
        with contextlib.closing(socket):
            return _answer(socket, _ask(socket, code), seconds, advice)
    finally:
        http.delete(kernel, timeout=30)


def _ask(socket: Any, code: str) -> str:
    """Send the code; return the id of the request."""
    header = {
        **{"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3"},
        **{"session": uuid.uuid4().hex, "username": "", "date": ""},
    }
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    socket.send(json.dumps({**message, "channel": "shell"}))
    return str(header["msg_id"])


def _answer(socket: Any, asked: str, seconds: float, advice: str) -> str:
    """Collect what the code prints until the kernel is idle again."""
    parts, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        message = json.loads(socket.recv())
        if message["parent_header"].get("msg_id") != asked:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            parts.append(content["text"])
        elif kind == "error":
            why = content["evalue"]
            if content["ename"] == "CalledProcessError":  # its text repeats the whole script
                why = why.rpartition("' ")[2]
            said = f"{''.join(parts)}{content['ename']}: {why}"
            raise KernelFailed(f"The notebook's kernel ended in an error. {said} {advice}".strip())
        elif kind == "status" and content["execution_state"] == "idle":
            return "".join(parts)
    raise KernelFailed(
        f"Expected the code to end within {seconds:g} s, found: {''.join(parts)} {advice}".strip()
    )
