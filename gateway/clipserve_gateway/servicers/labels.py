"""LabelSetService: label sets kept under names."""

from __future__ import annotations

from clipserve.v1 import labels_pb2, labels_pb2_grpc
from grpc.aio import ServicerContext

from clipserve_gateway.access.audit_log import AuditLog
from clipserve_gateway.access.caller import visible
from clipserve_gateway.collection.label_sets import LabelSets, summary
from clipserve_gateway.convert import labels as convert
from clipserve_gateway.convert import pages
from clipserve_gateway.convert.common import check_fits
from clipserve_gateway.inference.label_warnings import DEFAULT_CONTEXT, find_warnings_briefly
from clipserve_gateway.process.off_loop import off_loop
from clipserve_gateway.triton.models import Models
from clipserve_gateway.types import Limits


class LabelSetServicer(labels_pb2_grpc.LabelSetServiceServicer):
    """See protos/clipserve/v1/labels.proto."""

    def __init__(self, label_sets: LabelSets, models: Models, limits: Limits, audit: AuditLog) -> None:
        self._label_sets = label_sets
        self._models = models
        self._limits = limits
        self._audit = audit

    async def PutLabelSet(
        self, request: labels_pb2.PutLabelSetRequest, context: ServicerContext
    ) -> labels_pb2.PutLabelSetResponse:
        """Keeps a label set under a name, as its next version."""
        name = convert.read_name(request.name, "name")
        steps = len(request.labels.names) + len(request.labels.templates)
        labels = await off_loop(steps, lambda: convert.read_labels(request.labels, self._limits))
        contexts = [spec.context_length for spec, _ in self._models.all()]
        warnings = await find_warnings_briefly(labels, min(contexts, default=DEFAULT_CONTEXT))
        with self._audit.change("PutLabelSet", context.peer(), label_set=name) as entry:
            stored, created = await self._label_sets.put(name, labels)
            entry["after"] = stored.ref.version
            entry["created"] = created
        return labels_pb2.PutLabelSetResponse(
            info=convert.write_info(summary(stored)),
            created=created,
            warnings=map(convert.write_warning, warnings),
        )

    async def GetLabelSet(
        self, request: labels_pb2.GetLabelSetRequest, context: ServicerContext
    ) -> labels_pb2.GetLabelSetResponse:
        """Gets a label set."""
        stored = await self._label_sets.get(convert.read_label_set_ref(request.ref, "ref"))
        response = labels_pb2.GetLabelSetResponse(
            info=convert.write_info(summary(stored)), labels=convert.write_labels(stored.labels)
        )
        return check_fits(response, self._limits, "ref")

    async def ListLabelSets(
        self, request: labels_pb2.ListLabelSetsRequest, context: ServicerContext
    ) -> labels_pb2.ListLabelSetsResponse:
        """Lists the latest version of every label set by name, page by page."""
        after, size = pages.read_page(request)
        found = await self._label_sets.page(after, size + 1, visible.label_set)
        return labels_pb2.ListLabelSetsResponse(
            label_sets=map(convert.write_info, found[:size]),
            next_page_token=pages.write_page_token(found[size - 1].ref.name) if len(found) > size else "",
        )

    async def DeleteLabelSet(
        self, request: labels_pb2.DeleteLabelSetRequest, context: ServicerContext
    ) -> labels_pb2.DeleteLabelSetResponse:
        """Deletes a label set, or one version of it."""
        ref = convert.read_label_set_ref(request.ref, "ref")
        with self._audit.change(
            "DeleteLabelSet", context.peer(), label_set=ref.name, before=ref.version
        ) as entry:
            entry["deleted"] = deleted = await self._label_sets.delete(ref)
        return labels_pb2.DeleteLabelSetResponse(deleted=deleted)
