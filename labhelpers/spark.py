"""A Spark session as a lab names it, Spark's refusals, and what of `labspark` stands beside."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import shorten

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from labhelpers.errors import LabError
from labshow.trouble import reason
from labspark import jdbc, process, warehouse
from labspark.session import session as spark_session

__all__ = ["jdbc", "process", "refusal", "spark_session", "warehouse"]


def refusal(text: str, action: Callable[[], object]) -> str:
    """Do what Spark is expected to refuse; show and return its reason."""
    try:
        action()
    except (PySparkException, Py4JJavaError) as error:
        said = reason(error)
        print(f"Refused, {text}:\n    {shorten(said, 240, placeholder=' …')}")
        return said
    raise LabError(f"Expected Spark to refuse {text}, found that it was done.")
