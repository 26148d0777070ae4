"""The process of one model: load it, then answer batches until the server hangs up."""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
import warnings
from typing import Any

import orjson

from labapps.deployment import frames
from labapps.deployment.answers import Answers

__all__ = ["serve"]


def serve(args: dict[str, Any], fds: list[int]) -> int:
    """Run in a fork of the zygote; `args` are the fields of `Answers`."""
    sock = socket.socket(fileno=fds[0])
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    answers = Answers(**args)
    if answers.scoring:
        sys.path.insert(0, os.path.dirname(answers.scoring))
    try:
        about = answers.load()
        about |= {"ok": True, "seconds": round(time.perf_counter() - began, 3)}
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}"
        about = {"ok": False, "error": f"{text}, line {where.lineno})"}
    sock.sendall(frames.pack([(0, orjson.dumps(about))]))
    if not about["ok"]:
        return 1
    while (batch := frames.receive(sock)) is not None:
        sock.sendall(frames.pack(answers.answer(batch)))
    return 0
