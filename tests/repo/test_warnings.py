"""A warning about what a test left open is an error of that test, not of a later one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

TESTS = """
import socket

import pytest

class Left:
    def __init__(self):
        self.socket = socket.socket()
        self.me = self  # a cycle: no reference count ends it

@pytest.fixture(scope="module")
def listener():
    yield Left()

def test_leaves_a_socket_open():
    Left()

def test_is_innocent():
    list(range(100_000))

def test_uses_what_its_module_leaves_open(listener):
    pass
"""
INNOCENT = """
def test_of_the_next_module():
    pass
"""


def test_socket_left_open_is_an_error_of_the_test_that_left_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\nmarkers = fast\n")
    (tmp_path / "test_one.py").write_text(TESTS)
    (tmp_path / "test_two.py").write_text(INNOCENT)
    words = ["-p", "no:cacheprovider", "-rA", "--tb=line"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = {tuple(line.split()[:2]) for line in done.stdout.splitlines()}
    one, two = "test_one.py::test_", "test_two.py::test_"
    assert ("ERROR", f"{one}leaves_a_socket_open") in said, done.stdout
    assert ("PASSED", f"{one}is_innocent") in said
    assert ("ERROR", f"{one}uses_what_its_module_leaves_open") in said
    assert ("PASSED", f"{two}of_the_next_module") in said
    assert done.stdout.count("ERROR test_") == 2, done.stdout
