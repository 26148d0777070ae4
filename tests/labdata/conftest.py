"""Tests with Spark: pyspark leaves its sockets to the garbage collector."""

from tests.labspark.conftest import sockets

__all__ = ["sockets"]
