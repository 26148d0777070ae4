"""kd-global-config is brought into its state, however often that fails first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from labsandbox.client import ApiError, Client
from labsandbox.client.kubeconfig import Access
from labsandbox.client.resources import KDCONFIGS
from labsandbox.kubedirector import operator
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.globalconfig import sync_config
from labsandbox.kubedirector.operator import Operator, Options

pytestmark = pytest.mark.fast

META = {"name": "kd-global-config", "namespace": "kubedirector", "uid": "u", "resourceVersion": "1"}


class Server(Client):
    """A server that answers the first writes with an error."""

    def __init__(self, failures: int) -> None:
        super().__init__(Access("https://127.0.0.1:9", "default"))
        self.failures = failures
        self.states: list[str] = []
        self.done = asyncio.Event()
        self.codes = Codes()
        self.opened: list[bool] = []

    async def patch(self, resource: Any, name: str, namespace: Any, patch: Any, **_: Any) -> Any:
        if "status" in patch:
            self.opened.append(self.codes.opens("u", patch["status"]["generationUID"]))
        if self.failures:
            self.failures -= 1
            raise ApiError(500, "InternalError", "failed calling webhook")
        if "status" in patch:
            self.states.append(patch["status"]["state"])
            self.done.set()
        return {"metadata": {**META, "finalizers": ["kubedirector.hpe.com/cleanup"]}, **patch}


def test_config_that_could_not_be_written_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "_FIRST_PAUSE", 0.01)

    async def work() -> list[str]:
        server = Server(failures=3)
        made = Operator(server, Options())
        made.store.put(KDCONFIGS, {"metadata": META})
        made._configs_changed.set()
        task = asyncio.create_task(made._sync_configs())
        async with asyncio.timeout(10):
            await server.done.wait()
        task.cancel()
        return server.states

    assert asyncio.run(work()) == ["ready"]


def test_code_of_a_config_is_spent_whether_its_write_succeeds_or_not() -> None:
    async def work() -> list[bool]:
        server = Server(failures=0)
        written = await sync_config(server, server.codes, {"metadata": META})
        code = written["status"]["generationUID"]
        return [*server.opened, server.codes.opens("u", code)]

    assert asyncio.run(work()) == [True, False]
