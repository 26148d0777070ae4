"""A hub that would not be safe, or cannot be, says so in a sentence before anything starts."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from labclass import certificate, hub, isolation, share
from labclass.hub import HubRefused, open_class
from labclass.isolation import NoIsolation
from labclass.spawner import LearnerSpawner
from labrunner.errors import LabError
from tests.classroom_folder import free_port, make
from tests.hub.running import CONFIG

pytestmark = pytest.mark.sandbox


@pytest.fixture(autouse=True)
def _closed_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let go of the classes a test opened; do not ask the kernel each time."""
    monkeypatch.setattr(isolation, "version", lambda: 7)
    yield
    while hub._held:
        os.close(hub._held.pop())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a class folder."""
    return make(tmp_path / "class")


def opened(folder: Path, **environment: str) -> hub.Room:
    """Open a class as the configuration does it."""
    return open_class({"LABS_CLASS": str(folder), **environment})


def change(folder: Path, **wanted: Any) -> None:
    """Change the hub's part of class.json."""
    about = json.loads((folder / "class.json").read_text())
    about["hub"] |= wanted
    (folder / "class.json").write_text(json.dumps(about))


def test_class_opens_with_its_people_and_private_files(folder: Path) -> None:
    room = opened(folder)
    assert (room.learners, room.instructors) == (["student1", "student2"], ["instructor"])
    assert (room.bind, room.tls, room.is_confined) == ("127.0.0.1", None, True)
    assert len(room.secret("proxy_token")) == 64
    assert room.secret("proxy_token") == room.secret("proxy_token")
    for file in room.state.rglob("*"):
        assert file.stat().st_mode & 0o77 == 0, file
    assert room.state.stat().st_mode & 0o77 == 0


def test_ports_inside_stay_the_same_at_every_start(folder: Path) -> None:
    first = opened(folder).ports
    os.close(hub._held.pop())
    assert opened(folder).ports == first
    os.close(hub._held.pop())
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", first["hub"]))
        thief.listen()
        assert opened(folder).ports["hub"] != first["hub"]


def test_no_port_is_chosen_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = json.loads((folder / "class.json").read_text())["hub"]
    public = wanted.get("port") or urlsplit(wanted["url"]).port
    given = iter([public, 5001, 5001, 5002, public, 5003])
    monkeypatch.setattr(hub, "_listen", lambda address, port: next(given))
    ports = opened(folder).ports
    assert sorted(ports.values()) == [5001, 5002, 5003]


def _nothing(folder: Path) -> dict[str, str]:
    return {}


def _elsewhere(folder: Path) -> dict[str, str]:
    return {"LABS_CLASS": str(folder / "nowhere")}


def _half_written(folder: Path) -> dict[str, str]:
    (folder / "class.json").write_text("{")
    return {"LABS_CLASS": str(folder)}


def _without_sheet(folder: Path) -> dict[str, str]:
    (folder / "credentials.csv").unlink()
    return {"LABS_CLASS": str(folder)}


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_nothing, "in LABS_CLASS, found nothing.*labs class --students 12"),
        (_elsewhere, "nowhere.*found no class.json.*labs class --folder"),
        (_half_written, "class.json, found: Expecting property name"),
        (_without_sheet, "credentials.csv, found: No such file"),
    ],
)
def test_folder_that_is_no_class_is_refused(folder: Path, prepare: Any, words: str) -> None:
    with pytest.raises(LabError, match=words):
        open_class(prepare(folder))


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.7", "class.example"])
def test_plain_http_on_a_network_is_refused(folder: Path, bind: str) -> None:
    change(folder, url=f"http://class.example:{free_port()}", bind=bind)
    with pytest.raises(HubRefused, match=r"Expected https .*passwords.*listen on 127\.0\.0\.1"):
        opened(folder)


@pytest.mark.parametrize("bind", ["127.0.0.1", "localhost", "127.0.0.9"])
def test_plain_http_stays_possible_on_the_host_itself(folder: Path, bind: str) -> None:
    change(folder, bind=bind)
    assert opened(folder).tls is None


def test_taken_port_is_named_with_another(folder: Path) -> None:
    port = int(json.loads((folder / "class.json").read_text())["hub"]["url"].rpartition(":")[2])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        words = rf"port {port} of 127\.0\.0\.1 to be free.*labs class --port {port + 1}"
        with pytest.raises(HubRefused, match=words):
            opened(folder)


def test_second_hub_of_a_class_is_refused(folder: Path) -> None:
    opened(folder)
    with pytest.raises(HubRefused, match=f"found process {os.getpid()}.*kill {os.getpid()}"):
        opened(folder)


def test_kernel_without_landlock_is_refused_unless_accepted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "version", lambda: 0)
    with pytest.raises(NoIsolation, match=f"Landlock.*{isolation.ACCEPT}=accepted"):
        opened(folder)
    os.close(hub._held.pop())
    assert not opened(folder, **{isolation.ACCEPT: "accepted"}).is_confined


def test_what_is_weaker_here_is_said_to_the_instructor(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "version", lambda: isolation.SIGNALS)
    (bounds,) = opened(folder).notes
    assert f"{share.most_memory(2) / 1e9:.1f} GB" in bounds
    os.close(hub._held.pop())
    monkeypatch.setattr(isolation, "version", lambda: 4)
    assert "version 4; from 6 on (Linux 6.12)" in opened(folder).notes[0]
    os.close(hub._held.pop())
    assert opened(folder, **{isolation.ACCEPT: "accepted"}).notes == [isolation.OPEN, bounds]


@pytest.mark.parametrize("is_confined", [True, False])
def test_server_is_started_in_the_confinement_unless_accepted(
    folder: Path, is_confined: bool
) -> None:
    spawner = LearnerSpawner(folder=str(folder), is_confined=is_confined)
    spawner.user = SimpleNamespace(name="student1")
    words = spawner.command_line()
    assert words[1:3] == ["-m", "labclass.warden"]
    assert ("labsandbox.node.landlock" in words) is is_confined


def test_hub_that_is_refused_ends_with_the_sentence_alone(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labclass.jupyterhub_app", "-f", str(CONFIG)],
        env={**os.environ, "LABS_CLASS": str(folder / "nowhere")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("Expected a class in")


# What a learner's settings may name


@pytest.mark.parametrize("name", ["PYTHONPATH", "EZMERAL_CA", "CURL_HOME"])
@pytest.mark.parametrize("inside", ["..", ".", "platform", "homes", "credentials.csv"])
def test_setting_that_would_open_the_class_is_refused(folder: Path, name: str, inside: str) -> None:
    with pytest.raises(NoIsolation, match="Choose another place for the class"):
        isolation.readable(folder, {name: str(folder / inside)}, [])


def test_setting_that_opens_one_thing_of_the_platform_is_fine(folder: Path) -> None:
    ca = folder / "platform" / "pki" / "ca.crt"
    assert str(ca.resolve()) in isolation.readable(folder, {"EZMERAL_CA": str(ca)}, [])


def test_project_repository_around_the_class_is_refused(folder: Path) -> None:
    with pytest.raises(NoIsolation):
        isolation.writable(folder, folder / "homes" / "a", {"PROJECT_REPO": str(folder.parent)})


def test_folders_with_private_files_are_read_without_them(tmp_path: Path) -> None:
    for name, mode in (
        ("a/open", 0o644),
        ("a/deep/shut", 0o600),
        ("a/deep/wide", 0o644),
        ("b", 0o644),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.chmod(mode)
    expected = [str(tmp_path / name) for name in ("a/deep/wide", "a/open", "b")]
    assert list(isolation.public(tmp_path)) == expected
    (tmp_path / "a/deep/shut").chmod(0o644)
    assert list(isolation.public(tmp_path)) == [str(tmp_path)]


# TLS


def test_network_address_gets_a_certificate_for_this_host_alone(folder: Path) -> None:
    change(folder, url=f"https://class.example:{free_port()}", bind="127.0.0.1")
    tls = opened(folder).tls
    assert tls is not None
    assert tls.authority is not None
    assert str(tls.authority) in tls.advice
    root = x509.load_pem_x509_certificate(tls.authority.read_bytes())
    constraints = root.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    names = {str(general.value) for general in constraints.value.permitted_subtrees or []}
    assert names == {"class.example", "localhost", "127.0.0.1/32"}
    assert not list((folder / "hub" / "tls").glob("ca.key")), "nobody can sign with it again"


def test_certificate_is_made_anew_only_when_names_change(tmp_path: Path) -> None:
    first = certificate.provide(tmp_path, ["a.example"]).certificate.read_bytes()
    assert certificate.provide(tmp_path, ["a.example"]).certificate.read_bytes() == first
    assert certificate.provide(tmp_path, ["b.example"]).certificate.read_bytes() != first


def test_certificate_is_taken_by_a_strict_client(tmp_path: Path) -> None:
    made = certificate.provide(tmp_path, ["localhost", "127.0.0.1"])
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=made.authority)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for host, is_taken in (("localhost", True), ("127.0.0.1", True), ("other.example", False)):
        assert _handshake(server, client, host) is is_taken


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> bool:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    behind = server.wrap_bio(to_server, to_client, server_side=True)
    before = client.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(4):
        for side in (before, behind):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return before.version() is not None


@pytest.mark.parametrize("given", [{"certificate": "x"}, {"key": "x"}])
def test_half_a_certificate_is_refused(folder: Path, given: dict[str, str]) -> None:
    change(folder, url=f"https://127.0.0.1:{free_port()}", **given)
    with pytest.raises(HubRefused, match="only one of them"):
        opened(folder)


def test_given_certificate_is_used(folder: Path, tmp_path: Path) -> None:
    made = certificate.provide(tmp_path / "own", ["127.0.0.1"])
    given = {"certificate": str(made.certificate), "key": str(made.key)}
    change(folder, url=f"https://127.0.0.1:{free_port()}", **given)
    tls = opened(folder).tls
    assert tls is not None
    assert (tls.certificate, tls.authority) == (made.certificate, None)
    change(folder, key=str(tmp_path / "missing"))
    os.close(hub._held.pop())
    with pytest.raises(HubRefused, match=r"readable file .*missing"):
        opened(folder)
