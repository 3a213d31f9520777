"""All Prometheus metrics of the gateway."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one gateway, in their own registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "clipserve_requests_total",
            "Calls answered. `model` is empty for calls that need no model.",
            ["method", "code", "model"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "clipserve_request_seconds",
            "Seconds from the arrival of a call until its answer is sent, event loop waits included.",
            ["method", "model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "clipserve_stage_seconds",
            "Seconds that a call spent in one stage, summed over its items.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.decode_cpu_seconds = Counter(
            "clipserve_decode_cpu_seconds",
            "CPU seconds of decoding and resizing images.",
            registry=registry,
        )
        self.encode_rows = Histogram(
            "clipserve_encode_rows",
            "Rows (images or texts) of one call to Triton; several calls may share it.",
            ["tower", "model"],
            buckets=ITEMS,
            registry=registry,
        )
        self.event_loop_lag = Histogram(
            "clipserve_event_loop_lag_seconds",
            "Delay of the event loop in seconds, sampled four times a second. Every call waits that long.",
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_items = Histogram(
            "clipserve_batch_items", "Items of one call.", buckets=ITEMS, registry=registry
        )
        self.item_errors = Counter(
            "clipserve_item_errors_total",
            "Items answered with an error.",
            ["reason"],
            registry=registry,
        )
        self.label_cache_hits = Counter(
            "clipserve_label_cache_hits_total", "Label sets found in the cache.", registry=registry
        )
        self.label_cache_misses = Counter(
            "clipserve_label_cache_misses_total",
            "Label sets that were not in the cache and were built.",
            registry=registry,
        )
        self.label_cache_coalesced = Counter(
            "clipserve_label_cache_coalesced_total",
            "Label sets that another call was already building.",
            registry=registry,
        )
        self.label_cache_bytes = Gauge(
            "clipserve_label_cache_bytes", "Bytes of memory of cached label embeddings.", registry=registry
        )
        self.label_cache_build_seconds = Histogram(
            "clipserve_label_cache_build_seconds",
            "Seconds to build the embeddings of one label set.",
            buckets=SECONDS,
            registry=registry,
        )
        self.inflight_items = Gauge(
            "clipserve_inflight_items", "Items of calls in progress.", ["lane"], registry=registry
        )
        self.held_bytes = Gauge(
            "clipserve_held_bytes",
            "Bytes of memory held for messages: received, in work, read from the engine, or not yet sent.",
            registry=registry,
        )
        self.dropped = Counter(
            "clipserve_dropped_total",
            "Calls whose work ended early, by stage. reason: deadline or cancelled.",
            ["stage", "reason"],
            registry=registry,
        )
        self.shared_items = Counter(
            "clipserve_shared_items_total",
            "Items that shared the computation of an equal item in progress.",
            registry=registry,
        )
        self.rejected = Counter(
            "clipserve_rejected_total",
            "Calls refused before any work.",
            ["reason"],
            registry=registry,
        )
        self.audit_failures = Counter(
            "clipserve_audit_failures_total",
            "Lines of the audit log that were not written because of an error.",
            registry=registry,
        )
        self.saturation = Gauge(
            "clipserve_saturation",
            "How busy the gateway is, 0–1: the largest saturation of its stages.",
            registry=registry,
        )
        self.stage_saturation = Gauge(
            "clipserve_stage_saturation",
            "How full a stage is, 0–1: loop (time of the event loop), admission (calls in progress), bytes "
            "(held messages), decode, encode (rows at or waiting for Triton).",
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
            "clipserve_triton_up", "Whether a replica of Triton answers.", ["replica"], registry=registry
        )
        self.engine_up = Gauge(
            "clipserve_engine_up",
            "Whether the engine answered the last read of its catalog; 0 before the first read.",
            [],
            registry=registry,
        )
        self.store_writable = Gauge(
            "clipserve_store_writable",
            "Whether the catalog accounts for all tables; at 0 writes are refused. Absent until checked.",
            [],
            registry=registry,
        )
        self.orphan_tables = Gauge(
            "clipserve_orphan_tables",
            "Tables that belong to no collection; they are not deleted.",
            ["table"],
            registry=registry,
        )

    def watch_saturation(self, **stages: Callable[[], float]) -> None:
        """Reads the saturation of each stage, 0–1, at every scrape."""
        for stage, saturation in stages.items():
            self.stage_saturation.labels(stage).set_function(saturation)
        self.saturation.set_function(lambda: max(saturation() for saturation in stages.values()))
