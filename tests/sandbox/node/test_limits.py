"""A pod that is too large, or cannot be read, fails alone and with a sentence."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labsandbox.node import agent as agents
from labsandbox.node import guard, limits, processes, scheduler
from labsandbox.node.environment import ConfigError, build, command_line, expand, text_of
from labsandbox.node.scheduler import Scheduler

pytestmark = pytest.mark.fast

Object = dict[str, Any]


def env_of(*entries: tuple[str, str]) -> dict[str, str]:
    container = {"name": "c", "env": [{"name": name, "value": text} for name, text in entries]}
    return build({"metadata": {}, "spec": {}}, container, {}, lambda *_: None, {})


def test_references_that_double_are_refused() -> None:
    doubling = [("A0", "x" * 16), *((f"A{i}", f"$(A{i - 1})" * 2) for i in range(1, 24))]
    with pytest.raises(ConfigError, match=r"environment is larger than 1 MB .* shorten"):
        env_of(*doubling)


def test_one_name_written_again_and_again_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        env_of(("BIG", "x" * 300_000), *[("A", "$(BIG)")] * 1000)


def test_one_value_of_many_references_is_refused_before_it_is_made() -> None:
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        expand("$(BIG)" * 100_000, {"BIG": "x" * 500_000})


def test_command_line_counts_as_a_whole() -> None:
    container = {"command": ["sh"], "args": ["$(BIG)"] * 5}
    assert len(command_line(container, [], [], {"BIG": "x" * 1000})) == 6
    with pytest.raises(ConfigError, match="the command line is larger than 1 MB"):
        command_line(container, [], [], {"BIG": "x" * 500_000})


def test_usual_environment_is_not_refused() -> None:
    assert env_of(("A", "1"), ("B", "$(A)$$(A)"))["B"] == "1$(A)"


def test_text_of_decodes_one_key_alone() -> None:
    secret = {"kind": "Secret", "data": {"a": "Zm9v", "broken": "%"}}
    assert text_of(secret, "a") == "foo"
    assert text_of(secret, "b") is None
    assert text_of({"kind": "ConfigMap", "binaryData": {"a": "Zm9v"}}, "a") == "foo"


def pod_of(**spec: Any) -> Object:
    containers = [{"name": "c", "image": "busybox:1"}]
    return {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": containers, **spec}}


MANY: list[tuple[str, Object]] = [
    ("spec.containers", {"containers": [{"name": f"c{i}"} for i in range(65)]}),
    ("spec.initContainers", {"initContainers": [{"name": f"c{i}"} for i in range(65)]}),
    ("spec.volumes", {"volumes": [{"name": f"v{i}", "emptyDir": {}} for i in range(129)]}),
    ("spec.tolerations", {"tolerations": [{}] * 257}),
    ("ports", {"containers": [{"name": "c", "ports": [{}] * 257}]}),
    ("env", {"containers": [{"name": "c", "env": [{}] * 4097}]}),
    ("args", {"initContainers": [{"name": "c", "args": ["a"] * 4097}]}),
    ("items", {"volumes": [{"name": "v", "configMap": {"items": [{}] * 1025}}]}),
    ("items", {"volumes": [{"name": "v", "projected": {
        "sources": [{"secret": {"items": [{}] * 1025}}]}}]}),
    ("node affinity", {"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{}] * 257}]}}}}),
]  # fmt: skip


@pytest.mark.parametrize(("where", "spec"), MANY)
def test_long_lists_are_named(where: str, spec: Object) -> None:
    text = limits.problem(pod_of(**spec)["spec"])
    assert text
    assert where in text
    assert "expected at most" in text
    assert text in scheduler.choose(pod_of(**spec), [], []).message


def test_usual_pod_has_no_problem() -> None:
    spec = pod_of(volumes=[{"name": "v", "projected": {"sources": [{"secret": {}}]}}])["spec"]
    assert limits.problem(spec) is None


def test_volume_of_one_large_key_many_times_is_refused() -> None:
    limits.check_files({"a": (b"x" * 1000, 0o644)}, "v")
    with pytest.raises(ConfigError, match="16 MB of files in volume v; found 20 MB"):
        limits.check_files({str(i): (b"x" * (1 << 20), 0o644) for i in range(20)}, "v")


def test_what_ended_the_agent_three_times_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "preparing-c"
    with guard.attempt(path):
        assert path.read_text() == "1"
    assert not path.exists()
    for number in range(guard.MOST_ATTEMPTS):
        unfinished = guard.attempt(path)
        unfinished.__enter__()  # and the agent is killed
        assert path.read_text() == str(number + 1)
        del unfinished
        path.write_text(str(number + 1))  # as it is on disk: no cleanup runs in a killed process
    with pytest.raises(ConfigError, match=r"ended 3 times .* delete the pod"), guard.attempt(path):
        raise AssertionError("it was tried again")


class Worker:
    """A pod whose first days are bad."""

    def __init__(self) -> None:
        self.record = SimpleNamespace(name="p")
        self.errors: list[Exception] = [KeyError("x"), ExceptionGroup("", [MemoryError()])]
        self.events: list[str] = []

    async def run(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def event(self, kind: str, reason: str, message: str) -> None:
        self.events.append(f"{kind} {reason} {message}")


def test_pod_that_fails_is_tried_again_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(agents, "_FIRST_PAUSE", 0)
    worker: Any = Worker()
    with caplog.at_level(logging.ERROR):
        asyncio.run(agents.Agent._work(SimpleNamespace(), worker))  # type: ignore[arg-type]
    assert worker.errors == []
    assert "This is a bug in labsandbox" in worker.events[0]
    assert "Warning FailedSync The pod cannot be kept: MemoryError" in worker.events[1]
    assert caplog.text.count("Traceback") >= 2


def test_pod_nobody_can_read_does_not_stop_the_scheduler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, good = pod_of(), pod_of()
    bad["metadata"] |= {"uid": "1", "name": "bad"}
    bad["spec"]["nodeSelector"] = "no table"
    good["metadata"] |= {"uid": "2", "name": "good"}
    done: list[str] = []

    async def play() -> None:
        pods: Any = SimpleNamespace(objects={1: bad, 2: good})
        one = Scheduler(SimpleNamespace(), pods)  # type: ignore[arg-type]
        node = {"metadata": {"name": "laptop", "labels": {"n": "1"}}, "spec": {}, "status": {}}
        one.nodes.objects[None, "laptop"] = node

        async def explain(pod: Object, message: str) -> None:
            done.append(f"{pod['metadata']['name']}: {message}")

        async def bind(pod: Object, node: str) -> None:
            done.append(f"{pod['metadata']['name']} on {node}")

        monkeypatch.setattr(one, "_explain", explain)
        monkeypatch.setattr(one, "_bind", bind)
        await one._bind_pending()

    asyncio.run(play())
    assert "bad: this pod cannot be read" in done[0]
    assert done[1] == "good on laptop"


def test_no_signal_goes_to_a_group_or_to_the_first_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(processes.os, "kill", lambda pid, _: sent.append(pid))
    processes.send([0, -1, -2, 1, 4_000_000], 9)
    assert sent == [4_000_000]
