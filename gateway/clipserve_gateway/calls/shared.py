"""What the calls of one gateway share: limits, intake, admission, authorization, the audit log."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from clipserve_gateway.access.audit_log import AuditLog
from clipserve_gateway.access.authorizer import Authorizer
from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.intake import Intake
from clipserve_gateway.convert.status import code_of
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow import stages
from clipserve_gateway.flow.admission import Admission, Cost
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import Limits

REFUSED = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
"""Codes of the calls that the audit log records even if they change nothing."""


@dataclass(frozen=True)
class Calls:
    """Shared by the servicers and the runner of one gateway.

    Attributes:
        limits: the limits of requests.
        default_timeout: seconds that a call without a deadline may take.
    """

    limits: Limits
    default_timeout: float
    authorizer: Authorizer
    admission: Admission
    intake: Intake
    audit: AuditLog
    metrics: Metrics

    def deadline(self, call: Call) -> Deadline:
        """The caller's deadline, or the default from now on if the caller sets none."""
        return call.deadline_or(self.default_timeout)

    @contextlib.asynccontextmanager
    async def admit(
        self, cost: Cost, call: Call, *, wait_for_room: bool = False, reads: int = 0
    ) -> AsyncIterator[Deadline]:
        """Admits a call's work while inside; yields its deadline.

        Args:
            wait_for_room: wait where there is no room, as streams do; otherwise Overloaded is raised at once.
            reads: bytes that the call may read from the engine; every call waits for room for these.
        """
        deadline = self.deadline(call)
        self.metrics.batch_items.observe(cost.items)
        stages.count("items", cost.items)
        hold = await self.intake.budget.hold(reads, call.owner, deadline) if reads else None
        try:
            if wait_for_room:
                async with self.admission.after_waiting(cost, deadline):
                    yield deadline
            else:
                with self.admission.admitted(cost):
                    yield deadline
        finally:
            if hold is not None:
                hold.release()

    def count_errors(self, errors: Iterable[ClipserveError | None]) -> None:
        """Counts the items that are answered with an error."""
        for error in errors:
            if error is not None:
                self.metrics.item_errors.labels(error.reason).inc()

    def audit_refusal(self, call: Call, failure: ClipserveError) -> None:
        """Records a failure in the audit log if the caller's token is the reason."""
        if code_of(failure).name in REFUSED:
            self.audit.record("refused", method=call.method, peer=call.peer, outcome=failure.reason)
