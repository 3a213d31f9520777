"""What every call has: a deadline, a place, and items that are counted while it is under way."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

from grpc.aio import ServicerContext

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow import stages
from clipserve_gateway.flow.admission import Admission, Cost
from clipserve_gateway.flow.byte_budget import ByteBudget
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.servicers.intake import owner_of


class Calls:
    """Shared by all servicers of one gateway."""

    def __init__(
        self, default_timeout_seconds: float, admission: Admission, budget: ByteBudget, metrics: Metrics
    ) -> None:
        self._default_timeout = default_timeout_seconds
        self._budget = budget
        self._admission = admission
        self._metrics = metrics

    def deadline(self, context: ServicerContext) -> Deadline:
        """The caller's deadline; the server's default where the caller sets none."""
        remaining = context.time_remaining()
        return Deadline.after(self._default_timeout if remaining is None else remaining)

    @contextlib.asynccontextmanager
    async def place(
        self, cost: Cost, context: ServicerContext, *, patient: bool = False, reads: int = 0
    ) -> AsyncIterator[Deadline]:
        """Holds a place for a call's work while inside; gives its deadline.

        Without room, raises Overloaded at once; a patient one waits (streams are: then their callers wait).
        `reads` is how many bytes it may read from the engine: for these all calls wait.
        """
        deadline = self.deadline(context)
        self._metrics.batch_items.observe(cost.items)
        stages.count("items", cost.items)
        hold = await self._budget.hold(reads, owner_of(context), deadline) if reads else None
        try:
            if patient:
                async with self._admission.after_waiting(cost, deadline):
                    yield deadline
            else:
                with self._admission.admitted(cost):
                    yield deadline
        finally:
            if hold is not None:
                hold.release()

    def count_errors(self, errors: Iterable[ClipserveError | None]) -> None:
        """Counts the items that are answered with an error."""
        for error in errors:
            if error is not None:
                self._metrics.item_errors.labels(error.reason).inc()
