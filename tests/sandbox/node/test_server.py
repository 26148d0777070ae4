"""What the node's endpoint answers about containers that are not there yet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from labsandbox.node.pod import PodWorker
from labsandbox.node.server import Server
from labsandbox.node.usage import Usage

pytestmark = pytest.mark.fast

POD = {
    "metadata": {"uid": "1", "name": "p", "namespace": "n"},
    "spec": {"containers": [{"name": "c", "image": "busybox:1"}]},
}


async def ask(folder: Path, container: str) -> str:
    """Ask for the log of a container whose pod the node has just heard of."""
    agent: Any = SimpleNamespace(pods_folder=folder, workers={})
    agent.workers["1"] = PodWorker(agent, POD)
    path = f"/containerLogs/n/p/{container}"
    match = {"namespace": "n", "pod": "p", "container": container}
    request = make_mocked_request("GET", path, match_info=match)
    with pytest.raises(web.HTTPBadRequest) as caught:
        await Server(agent, Usage(agent))._logs(cast(web.Request, request))
    return str(caught.value.text)


def test_log_of_a_container_to_come_is_waited_for(tmp_path: Path) -> None:
    text = asyncio.run(ask(tmp_path, "c"))
    assert text == 'container "c" in pod "p" is waiting to start: ContainerCreating\n'


def test_log_of_a_container_the_pod_has_not_is_refused(tmp_path: Path) -> None:
    assert asyncio.run(ask(tmp_path, "d")) == 'container "d" is not valid for pod "p"\n'
