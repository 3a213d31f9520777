"""The metrics of the guard."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from clipserve_gateway.metrics import SECONDS
from clipserve_gateway.triton.canary import CanaryResult


class GuardMetrics:
    """All metrics of one guard, in their own registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.canary_ok = Gauge(
            "clipserve_canary_ok",
            "Whether the model is in service: its canary gets the answers that its export recorded.",
            ["model"],
            registry=registry,
        )
        self.canary_seconds = Histogram(
            "clipserve_canary_seconds",
            "Duration of one canary run: an image and a text.",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.canary_checks = Counter(
            "clipserve_canary_checks_total", "Canary runs.", ["model", "verdict"], registry=registry
        )
        self._models: set[str] = set()

    def count_run(self, model: str, result: CanaryResult) -> None:
        """Counts a canary run."""
        self.canary_seconds.labels(model).observe(result.seconds)
        self.canary_checks.labels(model, result.outcome.value).inc()

    def set_models(self, in_service: dict[str, bool]) -> None:
        """Sets the gauge of each model, and removes those of models that are gone."""
        for name in self._models - in_service.keys():
            self.canary_ok.remove(name)
        for name, serves in in_service.items():
            self.canary_ok.labels(name).set(serves)
        self._models = set(in_service)
