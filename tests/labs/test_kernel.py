"""What only a real kernel shows: the first figure of a notebook has its words too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labrunner.curriculum import load
from tests.labs.kernel import desk
from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

DRAW = """
import pandas as pd
from labshow import show
show.bars(pd.DataFrame({"zone": ["JFK"], "trips": [7]}), "zone", "trips", "JFK leads")
"""


def test_first_figure_of_a_notebook_has_its_words(tmp_path: Path) -> None:
    curriculum = load(ROOT)
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    environment = os.environ | inline | {"PYTHONPATH": str(ROOT), "LABS_HOME": str(tmp_path)}
    with desk(curriculum, curriculum.get("core/03"), environment) as learner:
        shown = [learner.do(DRAW).pages for _ in range(2)]
    assert all('<img alt="JFK leads: bars of trips, JFK 7."' in page for page in shown), shown
