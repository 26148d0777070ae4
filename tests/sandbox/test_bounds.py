"""A process of the platform that grows without end fails alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

PROGRAM = """
import resource
from labsandbox import bounds
bounds.protect(200 << 20)
assert resource.getrlimit(resource.RLIMIT_DATA)[0] == 200 << 20
try:
    bytearray(300 << 20)
except MemoryError:
    print("refused")
print(open("/proc/self/oom_score_adj").read())
"""


def test_memory_is_bounded_and_the_score_is_not_raised() -> None:
    before = int(Path("/proc/self/oom_score_adj").read_text())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    refused, score = done.stdout.split()
    assert refused == "refused"
    assert int(score) <= before
