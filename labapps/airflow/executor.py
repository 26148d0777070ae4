"""Airflow's LocalExecutor, whose tasks write to their own logs alone.

The original also sends each line of a task to the scheduler's output, which is the pod's log, and
there secrets are not masked: the masker that a task tells its secrets works on the task's log only.
"""

from __future__ import annotations

from typing import Any

from airflow.executors import local_executor
from airflow.executors.base_executor import BaseExecutor

__all__ = ["PrivateLocalExecutor"]


class _Private(BaseExecutor):
    """Runs workloads as the base class does, with their lines in their logs only."""

    @staticmethod
    def run_workload(workload: Any, **more: Any) -> Any:
        return BaseExecutor.run_workload(workload, **more | {"subprocess_logs_to_stdout": False})


# The workers of LocalExecutor ask the base class by this name, and take no setting.
local_executor.BaseExecutor = _Private


class PrivateLocalExecutor(local_executor.LocalExecutor):
    """LocalExecutor under a name that imports this module."""
