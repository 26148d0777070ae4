"""A part of the platform that runs alone says what keeps it from the API."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from labsandbox import certificates
from labsandbox.client import Client
from labsandbox.client.resources import NAMESPACES, SERVICEACCOUNTS
from tests.sandbox.conftest import ROOT, ApiServer

NAMES = {"controllers": "controllers", "node": "kubelet", "kubedirector": "kubedirector"}
SECONDS = 30


def _kubeconfig(api: ApiServer, folder: Path, **cluster: Any) -> Path:
    """Write the administrator's kubeconfig again, with another cluster in it."""
    document = yaml.safe_load(api.kubeconfig.read_text())
    document["clusters"][0]["cluster"] = {"server": api.url, **cluster}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    return file


@contextmanager
def _part(name: str, kubeconfig: Path, state: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", f"labsandbox.{name}", "--kubeconfig", str(kubeconfig)]
    if name != "kubedirector":
        words += ["--state", str(state)]
    program = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


@pytest.mark.parametrize("part", NAMES)
def test_part_ends_with_a_sentence_where_it_cannot_trust_the_server(
    apiserver: ApiServer, tmp_path: Path, part: str
) -> None:
    certificates.ensure_authority(tmp_path, "somebody-else")
    kubeconfig = _kubeconfig(
        apiserver, tmp_path, **{"certificate-authority": str(tmp_path / "ca.crt")}
    )
    with _part(part, kubeconfig, tmp_path) as program:
        said = program.communicate(timeout=SECONDS)[1]
    assert program.returncode == 1
    assert said.splitlines()[-1].startswith(f"{NAMES[part]}: Expected {apiserver.url} to show")
    assert f"the certificate-authority of {kubeconfig}" in said


def test_part_waits_for_a_server_that_does_not_answer_and_says_so_once(
    apiserver: ApiServer, tmp_path: Path
) -> None:
    kubeconfig = _kubeconfig(apiserver, tmp_path, server="https://127.0.0.1:1")
    with _part("controllers", kubeconfig, tmp_path) as program:
        time.sleep(4)  # it asks every second
        assert program.poll() is None
        program.terminate()
        said = program.communicate(timeout=SECONDS)[1]
    assert said.count("https://127.0.0.1:1 does not answer yet, and is asked again") == 1


def test_kubeconfig_may_say_that_the_server_is_not_verified(
    apiserver: ApiServer, tmp_path: Path
) -> None:
    kubeconfig = _kubeconfig(apiserver, tmp_path, **{"insecure-skip-tls-verify": True})
    namespace = f"unverified-{os.getpid()}"
    with _part("controllers", kubeconfig, tmp_path):
        asyncio.run(_until_it_has_an_account(kubeconfig, namespace))


async def _until_it_has_an_account(kubeconfig: Path, namespace: str) -> None:
    """Make a namespace and wait for the ServiceAccount that a controller gives each one."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    async with Client.from_kubeconfig(kubeconfig) as client, asyncio.timeout(SECONDS):
        await client.create(NAMESPACES, body)
        while not await client.list(SERVICEACCOUNTS, namespace):
            await asyncio.sleep(0.1)
