"""What every call has: a deadline, and items that are counted while it is under way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from grpc.aio import ServicerContext

from clipserve_gateway import stages
from clipserve_gateway.deadline import Deadline
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.metrics import Metrics


class Calls:
    """Shared by all servicers of one gateway."""

    def __init__(self, default_timeout_seconds: float, metrics: Metrics) -> None:
        self._default_timeout = default_timeout_seconds
        self._metrics = metrics

    def deadline(self, context: ServicerContext) -> Deadline:
        """The caller's deadline; the server's default where the caller sets none."""
        remaining = context.time_remaining()
        return Deadline.after(self._default_timeout if remaining is None else remaining)

    @contextlib.contextmanager
    def items(self, count: int) -> Iterator[None]:
        """Counts a call's items, and shows them as in flight while inside."""
        self._metrics.batch_items.observe(count)
        stages.count("items", count)
        self._metrics.inflight_items.inc(count)
        try:
            yield
        finally:
            self._metrics.inflight_items.dec(count)

    def count_errors(self, errors: Iterable[ClipserveError | None]) -> None:
        """Counts the items that are answered with an error."""
        for error in errors:
            if error is not None:
                self._metrics.item_errors.labels(error.reason).inc()
