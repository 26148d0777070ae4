"""SPDY framing and WebSockets: commands and forwarded ports of foreign clients."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from kubernetes import client, config
from kubernetes.stream import stream

from labsandbox.client.resources import PODS
from labsandbox.node import spdy
from labsandbox.node.spdy import Closed, Data, Opened, Session
from tests.sandbox.clients.kubectl import everything
from tests.sandbox.cluster import Cluster, pod


def syn_stream(number: int, deflate: zlib._Compress, **headers: str) -> bytes:
    """Return the frame with which a client opens a stream."""
    block = struct.pack(">I", len(headers))
    for name, value in headers.items():
        for word in (name, value):
            block += struct.pack(">I", len(word)) + word.encode()
    body = struct.pack(">IIH", number, 0, 0) + deflate.compress(block)
    body += deflate.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">HHI", 0x8003, 1, len(body)) + body


@pytest.mark.fast
def test_dictionary_is_the_specifications() -> None:
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


@pytest.mark.fast
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_feed_understands_frames_however_they_are_cut(step: int) -> None:
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    sent: list[bytes] = []
    session = Session(sent.append)
    data = syn_stream(1, deflate, streamtype="stdin") + syn_stream(3, deflate, Streamtype="stdout")
    data += struct.pack(">II", 1, 1 << 24 | 3) + b"abc"
    data += struct.pack(">HHII", 0x8003, 6, 4, 42)  # a ping
    data += struct.pack(">HHIII", 0x8003, 7, 8, 0, 0)  # going away
    events = [e for i in range(0, len(data), step) for e in session.feed(data[i : i + step])]
    assert events == [
        Opened(1, {"streamtype": "stdin"}, False),
        Opened(3, {"streamtype": "stdout"}, False),
        Data(1, b"abc", True),
        Closed(0),
    ]
    kinds = [struct.unpack(">HH", frame[:4])[1] for frame in sent]
    assert kinds == [spdy.SYN_REPLY, spdy.SYN_REPLY, spdy.PING]


@pytest.mark.fast
def test_write_cuts_large_data_and_marks_the_last_piece() -> None:
    sent: list[bytes] = []
    Session(sent.append).write(5, b"x" * 70_000, last=True)
    heads = [struct.unpack(">II", frame[:8]) for frame in sent]
    assert [head[0] for head in heads] == [5, 5, 5]
    assert [head[1] >> 24 for head in heads] == [0, 0, 1]
    assert sum(head[1] & 0xFFFFFF for head in heads) == 70_000


@pytest.mark.fast
@pytest.mark.parametrize(
    "data", [struct.pack(">HHI", 0x8002, 1, 0), struct.pack(">II", 1, 0xFFFFFF) * 2]
)
def test_feed_refuses_what_is_not_spdy(data: bytes) -> None:
    session = Session(lambda _: None)
    if data.startswith(b"\x80"):
        with pytest.raises(spdy.ProtocolError, match="version"):
            list(session.feed(data))
    else:
        assert list(session.feed(data)) == []  # It waits for the rest of a frame that large.


@contextmanager
def forwarding(
    program: str, cluster: Cluster, namespace: str, env: dict[str, str]
) -> Iterator[str]:
    words = [program, "--kubeconfig", str(cluster.server.kubeconfig), "-n", namespace]
    process = subprocess.Popen(
        [*words, "port-forward", "pod/p", ":8000"], stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        yield line.split(" -> ")[0].rpartition(" ")[2]
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture(scope="module")
def served(cluster: Cluster) -> str:
    """A namespace with a pod that serves HTTP."""
    namespace = cluster.namespace("spdy")
    arguments = ["python", "-m", "http.server", "8000", "--bind", "$(POD_LISTEN_IP)"]
    probe = {"httpGet": {"port": 8000}, "periodSeconds": 1}
    cluster.create(
        PODS, pod("p", image="python:3", args=arguments, readinessProbe=probe), namespace
    )
    cluster.running(namespace, "p")
    return namespace


MISSING = pytest.param("", marks=pytest.mark.skip(reason="there is no kubectl on this machine"))


@pytest.mark.sandbox
@pytest.mark.parametrize("protocol", ["default", "spdy"])
@pytest.mark.parametrize("version", list(everything()) or [MISSING])
def test_kubectl_exec_and_port_forward(
    cluster: Cluster, served: str, version: str, protocol: str
) -> None:
    program = everything()[version]
    switches = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS")
    env = {**os.environ, **(dict.fromkeys(switches, "false") if protocol == "spdy" else {})}
    words = [program, "--kubeconfig", str(cluster.server.kubeconfig), "-n", served]
    data = b"x" * 1_000_000
    script = "cat; echo oops >&2; exit 3"
    done = subprocess.run(
        [*words, "exec", "-i", "p", "--", "sh", "-c", script],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
        env=env,
    )
    assert done.returncode == 3, done.stderr.decode()
    assert done.stdout == data
    assert b"oops\n" in done.stderr
    with forwarding(program, cluster, served, env) as address:
        for _ in range(2):
            curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://{address}/"]
            got = subprocess.run(curl, capture_output=True, text=True, timeout=30, check=False)
            assert got.stdout == "200", got.stderr


@pytest.mark.sandbox
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_python_client_talks_to_a_command_in_text_and_in_bytes(
    cluster: Cluster, served: str
) -> None:
    settings = client.Configuration()
    config.load_kube_config(str(cluster.server.kubeconfig), client_configuration=settings)
    with client.ApiClient(settings) as api:
        talk = stream(
            client.CoreV1Api(api).connect_get_namespaced_pod_exec,
            *("p", served),
            command=["sh"],
            **dict.fromkeys(("stdin", "stdout", "stderr"), True),
            tty=False,
            _preload_content=False,
        )
        with closing(talk), closing(talk.sock.sock):  # the client leaves the latter open
            talk.write_stdin("echo größer\n")  # a text frame
            assert talk.readline_stdout(timeout=30) == "größer"
            talk.write_stdin(b"echo bytes; exit 5\n")
            assert talk.readline_stdout(timeout=30) == "bytes"
            talk.run_forever(timeout=30)
            assert talk.returncode == 5
