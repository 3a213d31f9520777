"""What the guard tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from clipserve_gateway.metrics import SECONDS
from clipserve_gateway.triton.canary import Finding


class GuardMetrics:
    """All metrics of one guard, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.canary_ok = Gauge(
            "clipserve_canary_ok",
            "Whether the model gives the answers that its export recorded.",
            ["model"],
            registry=registry,
        )
        self.canary_seconds = Histogram(
            "clipserve_canary_seconds",
            "Time of one examination: an image and a text.",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.canary_checks = Counter(
            "clipserve_canary_checks_total", "Examinations.", ["model", "verdict"], registry=registry
        )
        self._models: set[str] = set()

    def examined(self, model: str, finding: Finding, seconds: float) -> None:
        """Counts an examination."""
        self.canary_seconds.labels(model).observe(seconds)
        self.canary_checks.labels(model, finding.verdict.value).inc()

    def judged(self, models: dict[str, bool]) -> None:
        """Tells which models are good; those that are gone are told no more."""
        for name in self._models - models.keys():
            self.canary_ok.remove(name)
        for name, good in models.items():
            self.canary_ok.labels(name).set(good)
        self._models = set(models)
