"""A part of the platform that runs alone says what keeps it from the API."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from labsandbox import certificates
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
def _part(name: str, kubeconfig: Path, state: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", f"labsandbox.{name}", "--kubeconfig", str(kubeconfig), *more]
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


def test_part_waits_for_a_server_that_is_away_and_says_so_once(
    apiserver: ApiServer, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as away:
        away.settimeout(SECONDS)
        server = f"http://127.0.0.1:{away.getsockname()[1]}"
        kubeconfig = _kubeconfig(apiserver, tmp_path, server=server)
        with _part("controllers", kubeconfig, tmp_path) as program:
            for _ in range(3):
                with away.accept()[0] as asked:
                    asked.recv(65536)
                    asked.sendall(b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n")
            assert program.poll() is None
            program.terminate()
            said = program.communicate(timeout=SECONDS)[1]
    assert said.count(f"{server} does not answer yet, and is asked again") == 1


def test_operator_ends_with_its_parent_although_no_api_answers(
    apiserver: ApiServer, tmp_path: Path
) -> None:
    kubeconfig = _kubeconfig(apiserver, tmp_path, server="http://127.0.0.1:1")
    with subprocess.Popen(["sleep", "600"]) as parent:
        more = ("--parent-pid", str(parent.pid))
        with _part("kubedirector", kubeconfig, tmp_path, *more) as program:
            assert program.stderr is not None
            assert "does not answer yet" in program.stderr.readline()
            assert program.poll() is None
            parent.kill()
            assert program.wait(timeout=SECONDS) == 0
