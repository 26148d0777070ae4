"""Addresses that a manifest names are not a way to look into this host or its network."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from labsandbox.kubedirector.admission import address

pytestmark = pytest.mark.fast

INNER = (
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0",
    "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "not an address", "",
)  # fmt: skip


@pytest.mark.parametrize("text", INNER)
def test_inner_addresses_are_not_public(text: str) -> None:
    assert not address.is_public(text)


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111"])
def test_outer_addresses_are_public(text: str) -> None:
    assert address.is_public(text)


def test_nothing_of_this_host_is_asked() -> None:
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.settimeout(0.2)
        names = (
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0x7f000001",
            "[::ffff:127.0.0.1]",
            "127.1",
        )
        urls = {f"http://{name}:{port}/x" for name in names}
        urls |= {"file:///etc/passwd", "ftp://1.1.1.1/", "http://[::1", "http://1.1.1.1:99999/", ""}
        found = asyncio.run(address.absent(urls))
        try:
            listener.accept()[0].close()
            asked.set()
        except TimeoutError:
            pass
    assert found == {}
    assert not asked.is_set()
