"""What a RESTServer counts, for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)


class Metrics:
    """The counters of one RESTServer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        more: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "deployment_requests", "Answered requests", ["model", "status"], **more
        )
        self.seconds = Histogram(
            "deployment_request_seconds", "Time to answer", ["model"], buckets=SECONDS, **more
        )
        self.batch = Histogram(
            "deployment_batch_requests",
            "Requests answered by one call of the model",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            **more,
        )
        self.restarts = Counter(
            "deployment_worker_restarts", "Workers that ended and were replaced", ["model"], **more
        )
        self.models = Gauge("deployment_models", "Models that answer", **more)
        self._cache: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._batches: dict[str, Any] = {}

    def count(self, model: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        pair = self._cache.get((model, status))
        if pair is None:
            pair = self.requests.labels(model, str(status)), self.seconds.labels(model)
            self._cache[model, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def count_batch(self, model: str, size: int) -> None:
        """Count one call of a model."""
        found = self._batches.get(model)
        if found is None:
            found = self._batches[model] = self.batch.labels(model)
        found.observe(size)

    def text(self) -> bytes:
        return generate_latest(self.registry)
