"""The story of the logistics workshop, with the labs of others that it needs."""

from __future__ import annotations

import pytest

from tests.labs.stories.story import told

pytestmark = pytest.mark.labs

AT_NIGHT = {"logistics/03", "logistics/08", "logistics/09"}  # a compiler; Spark and MLflow in pods

test_lab_passes_in_the_story = told("logistics", AT_NIGHT)
