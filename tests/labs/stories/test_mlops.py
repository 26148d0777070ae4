"""The story of the pipeline that breaks; what takes minutes is told at night."""

from __future__ import annotations

import pytest

from tests.labs.stories.story import told

pytestmark = pytest.mark.labs

AT_NIGHT = {f"mlops/{number:02}" for number in range(2, 9)}

test_lab_passes_in_the_story = told("mlops", AT_NIGHT)
