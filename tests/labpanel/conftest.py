"""The small checkout of the runner's tests, for the tests of what a learner opens."""

from tests.labrunner.conftest import checkout

__all__ = ["checkout"]
