"""No request fails while models come, change and go, and processes are killed."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.labapps import models
from tests.labapps.pods import TOKEN, Cluster, call, eventually, running

pytestmark = pytest.mark.sandbox
REPOSITORY = "repo://project_repo"
CLIENTS = 8


class Traffic:
    """Clients that ask models 1 and 2 again and again, and note every answer."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.stop = False

    async def ask(self, session: aiohttp.ClientSession, version: str) -> None:
        url = f"http://{self.host}:32700/taxi/{version}/predict"
        body = {"use_scoring": True, "scoring_args": models.ROW}
        while not self.stop:
            try:
                async with session.post(url, json=body) as reply:
                    text = await reply.text()
                    if reply.status != 200:
                        self.failures.append(f"{version}: {reply.status} {text[:300]}")
                    elif "predictions" not in json.loads(text):
                        self.failures.append(f"{version}: {text[:300]}")
            except (aiohttp.ClientError, OSError) as error:
                self.failures.append(f"{version}: {type(error).__name__} {error}")
            self.answers[version] += 1

    @property
    def total(self) -> int:
        return sum(self.answers.values())


async def disturb(cluster: Cluster, traffic: Traffic, requests: int) -> list[str]:
    """Change something after every stretch of requests; return what was done."""
    done: list[str] = []
    turns = itertools.cycle(["replace", "add", "kill worker", "remove", "kill server", "start"])
    victim = cluster.pods["RESTServer"][1]
    deadline = time.monotonic() + 600
    stretch = requests // 12
    while traffic.total < requests and time.monotonic() < deadline:
        goal = traffic.total + stretch
        while traffic.total < goal and not traffic.failures:
            await asyncio.sleep(0.01)
        if traffic.failures:
            break
        turn = next(turns)
        if turn == "replace":
            file = "hgb.skops" if len(done) % 2 else "rf.skops"
            cluster.model("one", "taxi", "1", f"{REPOSITORY}/{file}")
        elif turn == "add":
            cluster.model("extra", "taxi", "3", f"{REPOSITORY}/rf.onnx")
        elif turn == "remove":
            cluster.disconnect("extra")
        elif turn == "kill worker":
            process = cluster.pods["RESTServer"][0].process
            assert process is not None
            for worker in psutil.Process(process.pid).children()[0].children():
                worker.kill()
        elif turn == "kill server":
            await asyncio.to_thread(victim.stop, 9)
        else:
            victim.start()
        cluster.write()
        if victim.process is not None:
            await asyncio.to_thread(cluster.settle, 90)
        done.append(turn)
    return done


async def drive(cluster: Cluster, requests: int) -> tuple[Traffic, list[str]]:
    traffic = Traffic(cluster.pods["LoadBalancer"][0].ip)
    headers = {"X-Auth-Token": TOKEN}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(traffic.ask(session, "12"[number % 2]))
        done = await disturb(cluster, traffic, requests)
        traffic.stop = True
    return traffic, done


@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    ("requests", "balancer"),
    [
        (2_000, "own"),
        pytest.param(20_000, "own", marks=pytest.mark.nightly),
        pytest.param(20_000, "haproxy", marks=pytest.mark.nightly),
    ],
)
def test_requests_are_all_answered_while_everything_changes(
    tmp_path: Path, requests: int, balancer: str
) -> None:
    if balancer == "haproxy" and shutil.which("haproxy") is None:
        pytest.skip("haproxy is not on this machine; `.ci/run` installs it where it can")
    roles = {"LoadBalancer": 1, "RESTServer": 2}
    cluster = Cluster(tmp_path, "deployment", roles, BALANCER=balancer)
    models.train(cluster.repository)
    cluster.model("one", "taxi", "1", f"{REPOSITORY}/hgb.skops")
    script = f"{REPOSITORY}/functions.py"
    cluster.model("two", "taxi", "2", f"{REPOSITORY}/hgb.pkl", scoring_path=script)
    with running(cluster):
        cluster.settle(120)
        traffic, done = asyncio.run(drive(cluster, requests))
    assert traffic.failures == []
    assert traffic.total >= requests
    assert {"replace", "add", "kill worker", "remove", "kill server"} <= set(done)


@pytest.mark.timeout(120)
def test_server_that_leaves_finishes_what_it_has(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "deployment", {"LoadBalancer": 1, "RESTServer": 2}, BALANCER="own")
    models.train(cluster.repository)
    path, script = f"{REPOSITORY}/hgb.pkl", f"{REPOSITORY}/slow.py"
    cluster.model("slow", "slow", "1", path, scoring_path=script)
    balancer = cluster.pods["LoadBalancer"][0].ip
    body = {"use_scoring": True, "scoring_args": {}}
    with running(cluster), ThreadPoolExecutor(8) as pool:
        cluster.settle(120)
        url = f"http://{balancer}:32700/slow/1/predict"

        def servers() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = call(f"http://{balancer}:8081/stats")[1]["servers"]
            return found

        eventually("both servers to be up", lambda: {s["state"] for s in servers()} == {"up"})
        replies = [pool.submit(call, url, body) for _ in range(4)]
        eventually("both servers to be busy", lambda: all(s["active"] for s in servers()), 5)
        leaves = cluster.pods["RESTServer"].pop()
        cluster.write()
        assert leaves.stop(signal.SIGTERM) == 0
        assert [reply.result()[0] for reply in replies] == [200] * 4
        assert call(url, body)[0] == 200
        (left,) = servers()
        assert left["server"].startswith(cluster.pods["RESTServer"][0].ip)
