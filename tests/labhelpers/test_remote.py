"""What a learner reads when code fails in the kernel of another Jupyter server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from labkube import remote

pytestmark = pytest.mark.fast


class Socket:
    """A WebSocket that has received these messages."""

    def __init__(self, *messages: tuple[str, dict[str, Any]]) -> None:
        self.left: Iterator[tuple[str, dict[str, Any]]] = iter(messages)

    def recv(self) -> str:
        kind, content = next(self.left)
        parent = {"msg_id": "1"}
        return json.dumps({"msg_type": kind, "content": content, "parent_header": parent})


def test_command_that_fails_says_what_it_printed_and_what_to_type_but_not_the_script() -> None:
    why = "Command 'b'cd ~/labs\\ngit push\\n'' returned non-zero exit status 1."
    socket = Socket(
        ("stream", {"text": "! [rejected] main\n"}),
        ("error", {"ename": "CalledProcessError", "evalue": why}),
    )
    with pytest.raises(remote.KernelFailed) as failed:
        remote._answer(socket, "1", 5, "Type `git status`.")
    said = str(failed.value)
    assert "! [rejected] main" in said
    assert "returned non-zero exit status 1." in said
    assert "cd ~/labs" not in said
    assert said.endswith("Type `git status`.")


def test_code_that_ends_gives_what_it_printed() -> None:
    end = ("status", {"execution_state": "idle"})
    assert remote._answer(Socket(("stream", {"text": "a"}), end), "1", 5, "") == "a"
