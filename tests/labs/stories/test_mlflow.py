"""The story of the MLflow workshop, with the labs of others that it needs."""

from __future__ import annotations

import pytest

from tests.labs.stories.story import told

pytestmark = pytest.mark.labs

AT_NIGHT = {f"mlflow/{number:02}" for number in (2, 3, 5, 6, 7, 8, 9, 10, 11)}

test_lab_passes_in_the_story = told("mlflow", AT_NIGHT)
