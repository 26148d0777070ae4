"""The tests that README.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast
HERE = Path(__file__).parent
NAMED = re.compile(r"`(?P<file>[\w/]+\.py)?(?:::(?P<test>test_\w+))?`")


def test_tests_that_the_readme_names_exist() -> None:
    found, file = 0, ""
    for match in NAMED.finditer((HERE / "README.md").read_text("utf-8")):
        file = match["file"] or file
        if match["test"]:
            found += 1
            assert f"def {match['test']}(" in (HERE / file).read_text("utf-8"), match[0]
    assert found > 15
