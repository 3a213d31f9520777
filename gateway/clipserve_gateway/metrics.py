"""All Prometheus metrics of the gateway."""

from __future__ import annotations

import functools
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
        counter = functools.partial(Counter, registry=registry)
        gauge = functools.partial(Gauge, registry=registry)
        seconds = functools.partial(Histogram, registry=registry, buckets=SECONDS)
        items = functools.partial(Histogram, registry=registry, buckets=ITEMS)
        self.requests = counter(
            "clipserve_requests_total",
            "Calls answered. `model` is empty for calls that need no model.",
            ["method", "code", "model"],
        )
        self.request_seconds = seconds(
            "clipserve_request_seconds",
            "Seconds from the arrival of a call until its answer is sent, event loop waits included.",
            ["method", "model"],
        )
        self.stage_seconds = seconds(
            "clipserve_stage_seconds",
            "Seconds that a call spent in one stage, summed over its items.",
            ["stage"],
        )
        self.decode_cpu_seconds = counter(
            "clipserve_decode_cpu_seconds", "CPU seconds of decoding and resizing images."
        )
        self.encode_rows = items(
            "clipserve_encode_rows",
            "Rows (images or texts) of one call to Triton; several calls may share it.",
            ["tower", "model"],
        )
        self.event_loop_lag = seconds(
            "clipserve_event_loop_lag_seconds",
            "Delay of the event loop in seconds, sampled four times a second. Every call waits that long.",
        )
        self.batch_items = items("clipserve_batch_items", "Items of one call.")
        self.item_errors = counter("clipserve_item_errors_total", "Items answered with an error.", ["reason"])
        self.label_cache_hits = counter("clipserve_label_cache_hits_total", "Label sets found in the cache.")
        self.label_cache_misses = counter(
            "clipserve_label_cache_misses_total", "Label sets that were not in the cache and were built."
        )
        self.label_cache_coalesced = counter(
            "clipserve_label_cache_coalesced_total", "Label sets that another call was already building."
        )
        self.label_cache_bytes = gauge(
            "clipserve_label_cache_bytes", "Bytes of memory of cached label embeddings."
        )
        self.label_cache_build_seconds = seconds(
            "clipserve_label_cache_build_seconds", "Seconds to build the embeddings of one label set."
        )
        self.inflight_items = gauge("clipserve_inflight_items", "Items of calls in progress.", ["lane"])
        self.held_bytes = gauge(
            "clipserve_held_bytes",
            "Bytes of memory held for messages: received, in work, read from the engine, or not yet sent.",
        )
        self.dropped = counter(
            "clipserve_dropped_total",
            "Calls whose work ended early, by stage. reason: deadline or cancelled.",
            ["stage", "reason"],
        )
        self.shared_items = counter(
            "clipserve_shared_items_total", "Items that shared the computation of an equal item in progress."
        )
        self.rejected = counter("clipserve_rejected_total", "Calls refused before any work.", ["reason"])
        self.audit_failures = counter(
            "clipserve_audit_failures_total",
            "Lines of the audit log that were not written because of an error.",
        )
        self.saturation = gauge(
            "clipserve_saturation", "How busy the gateway is, 0–1: the largest saturation of its stages."
        )
        self.stage_saturation = gauge(
            "clipserve_stage_saturation",
            "How full a stage is, 0–1: loop (time of the event loop), admission (calls in progress), bytes "
            "(held messages), decode, encode (rows at or waiting for Triton).",
            ["stage"],
        )
        self.model_ready = gauge(
            "clipserve_model_ready",
            "Whether the model that Triton lists is in service: both towers are loaded and its canary is "
            "right. The page /models says why not.",
            ["model"],
        )
        self.canary_ok = gauge(
            "clipserve_canary_ok",
            "Whether a model is in service on a replica: its canary gets the recorded answers.",
            ["replica", "model"],
        )
        self.triton_up = gauge("clipserve_triton_up", "Whether a replica of Triton answers.", ["replica"])
        self.engine_up = gauge(
            "clipserve_engine_up",
            "Whether the engine answered the last read of its catalog; 0 before the first read.",
        )
        self.store_writable = gauge(
            "clipserve_store_writable",
            "Whether the catalog accounts for all tables; at 0 writes are refused. Absent until checked.",
        )
        self.orphan_tables = gauge(
            "clipserve_orphan_tables", "Tables that belong to no collection; they are not deleted.", ["table"]
        )

    def forget_model(self, model: str) -> None:
        """Removes the series of a model that is no longer served."""
        for metric in (
            self.requests, self.request_seconds, self.encode_rows, self.model_ready, self.canary_ok
        ):  # fmt: skip
            metric.remove_by_labels({"model": model})

    def watch_saturation(self, **stages: Callable[[], float]) -> None:
        """Reads the saturation of each stage, 0–1, at every scrape."""
        for stage, saturation in stages.items():
            self.stage_saturation.labels(stage).set_function(saturation)
        self.saturation.set_function(lambda: max(saturation() for saturation in stages.values()))
