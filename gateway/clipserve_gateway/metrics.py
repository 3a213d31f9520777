"""The gateway's Prometheus metrics, declared once."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """All metrics of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "clipserve_requests_total",
            "Calls answered; of calls that need no model, `model` is empty.",
            ["method", "code", "model"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "clipserve_request_seconds",
            "Time from a call's arrival until its answer has been sent, waits for the event loop included.",
            ["method", "model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "clipserve_stage_seconds",
            "Time a call spent in one stage, summed over its items.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.decode_cpu_seconds = Counter(
            "clipserve_decode_cpu_seconds",
            "Processor time of decoding and resizing images.",
            registry=registry,
        )
        self.encode_rows = Histogram(
            "clipserve_encode_rows",
            "Rows of one call to Triton: images or texts, of one or several calls of ours.",
            ["tower", "model"],
            buckets=ITEMS,
            registry=registry,
        )
        self.event_loop_lag = Histogram(
            "clipserve_event_loop_lag_seconds",
            "By how much the event loop is late, looked at four times a second: all calls wait that long.",
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_items = Histogram(
            "clipserve_batch_items", "Items of one call.", buckets=ITEMS, registry=registry
        )
        self.item_errors = Counter(
            "clipserve_item_errors_total",
            "Items of batches that were answered with an error.",
            ["reason"],
            registry=registry,
        )
        self.label_cache_hits = Counter(
            "clipserve_label_cache_hits_total", "Label sets found ready.", registry=registry
        )
        self.label_cache_misses = Counter(
            "clipserve_label_cache_misses_total", "Label sets that were built.", registry=registry
        )
        self.label_cache_coalesced = Counter(
            "clipserve_label_cache_coalesced_total",
            "Label sets waited for while another call built them.",
            registry=registry,
        )
        self.label_cache_bytes = Gauge(
            "clipserve_label_cache_bytes", "Memory that cached label embeddings take.", registry=registry
        )
        self.label_cache_build_seconds = Histogram(
            "clipserve_label_cache_build_seconds",
            "Time to build one label set's embeddings.",
            buckets=SECONDS,
            registry=registry,
        )
        self.inflight_items = Gauge(
            "clipserve_inflight_items", "Items of calls being answered now.", ["lane"], registry=registry
        )
        self.held_bytes = Gauge(
            "clipserve_held_bytes",
            "Memory held for messages: received, worked on, read from the engine, not yet sent.",
            registry=registry,
        )
        self.dropped = Counter(
            "clipserve_dropped_total",
            "Calls whose work ended early, by the stage they were in: deadline or cancelled.",
            ["stage", "reason"],
            registry=registry,
        )
        self.shared_items = Counter(
            "clipserve_shared_items_total",
            "Items that shared the computation of an equal one under way.",
            registry=registry,
        )
        self.rejected = Counter(
            "clipserve_rejected_total",
            "Calls refused before any work was done.",
            ["reason"],
            registry=registry,
        )
        self.audit_failures = Counter(
            "clipserve_audit_failures_total",
            "Lines of the audit log that could not be written.",
            registry=registry,
        )
        self.saturation = Gauge(
            "clipserve_saturation",
            "How busy the gateway is, 0–1: the largest of its stages' saturations.",
            registry=registry,
        )
        self.stage_saturation = Gauge(
            "clipserve_stage_saturation",
            "How full a stage is, 0–1: loop (the event loop's time), admission (calls under way), bytes "
            "(messages held), decode, encode (rows sent to or waiting for Triton).",
            ["stage"],
            registry=registry,
        )
        self.model_ready = Gauge(
            "clipserve_model_ready",
            "Whether Triton serves both towers of the model.",
            ["model"],
            registry=registry,
        )
        self.canary_ok = Gauge(
            "clipserve_canary_ok",
            "Whether a model is in service on a replica: its canary gets the recorded answers.",
            ["replica", "model"],
            registry=registry,
        )
        self.triton_up = Gauge(
            "clipserve_triton_up", "Whether a Triton answers.", ["replica"], registry=registry
        )
        self.engine_up = Gauge(
            "clipserve_engine_up",
            "Whether the index's engine answered the last read of its catalog; 0 before the first one.",
            [],
            registry=registry,
        )
        self.store_writable = Gauge(
            "clipserve_store_writable",
            "Whether the catalog accounts for the tables; 0 refuses writes. Absent until it was looked at.",
            [],
            registry=registry,
        )
        self.orphan_tables = Gauge(
            "clipserve_orphan_tables",
            "Tables that belong to no collection; they are kept.",
            ["table"],
            registry=registry,
        )

    def watch_saturation(self, **stages: Callable[[], float]) -> None:
        """Reads each stage's saturation, 0–1, whenever metrics are scraped."""
        for stage, saturation in stages.items():
            self.stage_saturation.labels(stage).set_function(saturation)
        self.saturation.set_function(lambda: max(saturation() for saturation in stages.values()))
