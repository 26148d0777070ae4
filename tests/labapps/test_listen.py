"""A port of a pod that another program has: one sentence, and the program ends."""

from __future__ import annotations

import socket

import pytest

from labapps.listen import PortTaken, bind

pytestmark = pytest.mark.fast


def test_free_port_is_listened_on() -> None:
    (listening,) = bind("127.244.9.9", [0])
    with listening:
        socket.create_connection(listening.getsockname(), timeout=5).close()


def test_port_that_somebody_has_on_all_addresses_is_named() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            PortTaken, match=f"Expected port {port} of 127.244.9.9 to be free"
        ) as one:
            bind("127.244.9.9", [port])
    assert f"ss -ltnp 'sport = :{port}'" in str(one.value)
    assert isinstance(one.value, SystemExit), "the program ends, so that its pod says so"


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(OSError, match="Cannot assign"):
        bind("192.0.2.1", [0])
