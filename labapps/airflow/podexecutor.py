"""Airflow's KubernetesExecutor where a pod has no unix sockets, as on the laptop platform.

The executor's queues are served by a process of its own; here over the loopback, with a key.
"""

from __future__ import annotations

import multiprocessing.connection
from typing import Any

from airflow.providers.cncf.kubernetes.executors.kubernetes_executor import KubernetesExecutor

__all__ = ["PodExecutor"]

CONNECTION: Any = multiprocessing.connection


class PodExecutor(KubernetesExecutor):
    """KubernetesExecutor whose queues need no unix socket."""

    def start(self) -> None:
        before = CONNECTION.default_family
        CONNECTION.default_family = "AF_INET"
        try:
            super().start()
        finally:
            CONNECTION.default_family = before
