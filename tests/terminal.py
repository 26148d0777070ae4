"""Type into a terminal of a Jupyter server, as a learner does in JupyterLab."""

from __future__ import annotations

import json
import re
import time

import requests
from websockets.sync.client import connect

__all__ = ["program"]


def program(server: str, token: str, name: str, seconds: float = 60.0) -> str:
    """Return what `command -v name` says in a new terminal of the server at http://…"""
    headers = {"Authorization": f"token {token}"}
    answer = requests.post(f"{server}/api/terminals", headers=headers, timeout=30)
    answer.raise_for_status()
    address = f"{server.replace('http', 'ws', 1)}/terminals/websocket/{answer.json()['name']}"
    said, end = "", time.monotonic() + seconds
    with connect(address, additional_headers=headers) as terminal:
        terminal.send(json.dumps(["stdin", f"echo at:$(command -v {name}):$((1+1))\r"]))
        while not (found := re.search(r"at:([^$\s]*):2", said)):
            assert time.monotonic() < end, said
            kind, *words = json.loads(terminal.recv(timeout=seconds))
            said += words[0] if kind == "stdout" else ""
    return found[1]
