"""What must be true of the platform after a lab, seen through files and the API, never through
the lab's own variables: the author of a lab does not mark his own homework.

One module a workshop; the stories take them."""

from __future__ import annotations

from collections.abc import Callable

from tests.labs.after import core, logistics, mlflow, mlops
from tests.labs.platform import Platform

__all__ = ["AFTER"]

AFTER: dict[str, Callable[[Platform], None]] = {
    **core.AFTER,
    **mlflow.AFTER,
    **logistics.AFTER,
    **mlops.AFTER,
}
