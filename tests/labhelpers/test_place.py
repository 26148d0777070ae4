"""Times and numbers are written the same wherever the machine stands and whatever it speaks."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

HERE = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
PLACES = (
    {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "TZ": "Europe/Berlin"},
    {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"},
)
# The locale is set as a program does it that wants its user's; where it is not generated, the
# words for numbers are put in its place, so that a helper that asked for them would show it.
SAYS = """
import locale, time
try:
    locale.setlocale(locale.LC_ALL, "")
except locale.Error:
    pass
real = locale.localeconv
marks = {"decimal_point": ",", "thousands_sep": ".", "grouping": [3, 3, 0]}
locale.localeconv = lambda: {**real(), **marks}
import matplotlib
matplotlib.use("agg")
import pandas as pd
from matplotlib import pyplot as plt
from labshow import alt, number, show
from labrunner import report
show.table(pd.DataFrame({"zone": ["JFK", "IRVING"], "trips": [1234567, 2.5], "at": [
    pd.Timestamp("2024-01-31 23:30", tz="UTC"), None]}), "Airports")
print(number.write(1234567.891), number.labels([0.5, 1234.0]), number.tick(20000.0))
show.lines(pd.DataFrame({"hour": [0, 1], "rides": [1000.5, 2.25]}), "hour", ["rides"], "Day")
plt.gcf().canvas.draw()
print([text.get_text() for text in plt.gca().get_yticklabels()])
print(alt.words_of(plt.gcf()))
print(report.duration(3.21), report.duration(75), "I".lower())
"""
STAMPS = """
import os, re, tempfile
from labhelpers import progress
from labrunner import report
os.environ["LABS_HOME"] = tempfile.mkdtemp()
progress.record("core/01", "A", True)
print(progress.load()["core/01"]["A"]["at"])
print(report.about())
"""


def said(program: str, place: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | place,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def at_home() -> str:
    return said(SAYS, HERE)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place["TZ"])
def test_numbers_and_times_are_the_same_everywhere(at_home: str, place: dict[str, str]) -> None:
    assert "1,234,567" in at_home
    assert said(SAYS, place) == at_home


def test_number_of_the_locale_is_found(at_home: str) -> None:
    asks = SAYS.replace("number.tick(20000.0)", "locale.format_string('%.1f', 2.5)")
    assert "2,5" in said(asks, HERE)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place["TZ"])
def test_times_are_iso_and_utc(place: dict[str, str]) -> None:
    kept, shown = said(STAMPS, place).splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", kept)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", shown)
