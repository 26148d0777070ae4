"""The doctor says what is missing and what to do, and does not fall over."""

from __future__ import annotations

import locale
import shutil
import socket
import sys
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from labrunner import cli, doctor, sandbox
from labrunner.doctor import Diagnosis
from labrunner.errors import LabError
from labspark import java
from labspark.errors import SparkError

pytestmark = pytest.mark.fast

Usage = namedtuple("Usage", "total used free")


def test_every_check_looks_and_names_itself() -> None:
    found = [look() for look in doctor.CHECKS if look is not doctor.jar]
    assert len({one.name for one in found}) == len(found)
    assert all(one.found for one in found)
    assert all(one.cure for one in found if not one.ok)


def test_old_python_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST", (9, 9))
    assert not doctor.python().ok


def test_missing_java_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise SparkError("Expected Java, found none.")

    monkeypatch.setattr(java, "find_java", none)
    assert doctor.java_runtime() == Diagnosis(
        "Java", False, "Expected Java, found none.", "Type `make setup`."
    )


def test_site_with_maven_needs_no_jar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_DELTA_COORDINATES", "io.delta:delta-spark_2.13:4.0.0")
    assert doctor.jar().ok


def test_full_disk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 2**30))
    found = doctor.disk()
    assert not found.ok
    assert "1.0 GB free" in found.found
    assert "Free some space" in found.cure


def test_small_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = namedtuple("memory", "available")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(2**30))
    assert not doctor.memory().ok


def test_locale_without_utf8_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locale, "getpreferredencoding", lambda setlocale: "ANSI_X3.4-1968")
    assert "PYTHONUTF8=1" in doctor.words().cure
    assert not doctor.words().ok


def test_home_that_cannot_be_written_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABS_HOME", str(tmp_path / "file" / "home"))
    assert not doctor.home().ok


def test_refused_socket_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: object) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket.socket, "bind", bind)
    assert "cannot listen on 127.0.0.1" in doctor.ports().found


def test_missing_kubectl_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = doctor.kubectl()
    assert (found.ok, found.optional) == (False, True)


def test_missing_platform_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZMERAL_URL", raising=False)
    monkeypatch.setattr(sandbox, "command", lambda: None)
    assert not doctor.platform().ok


def test_command_prints_the_cure_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Diagnosis("Disk", False, "nothing free", "Free some space.")
    fine = Diagnosis("Python", True, sys.version)
    monkeypatch.setattr(doctor, "CHECKS", (lambda: fine, lambda: bad))
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert "✗ Disk" in done.stdout
    assert "Free some space." in done.stdout
    assert isinstance(done.exception, LabError)
