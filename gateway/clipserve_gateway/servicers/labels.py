"""LabelSetService: named label sets."""

from __future__ import annotations

from clipserve.v1 import labels_pb2 as pb

from clipserve_gateway.access.call import Call
from clipserve_gateway.access.caller import visible
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.convert import labels as convert
from clipserve_gateway.convert import pages
from clipserve_gateway.convert.common import check_fits
from clipserve_gateway.inference.label_warnings import DEFAULT, find_warnings_briefly
from clipserve_gateway.process.off_loop import off_loop
from clipserve_gateway.triton.models import Models


class LabelSetServicer:
    """The methods of LabelSetService."""

    def __init__(self, label_sets: LabelSets, models: Models, calls: Calls) -> None:
        self._label_sets = label_sets
        self._models = models
        self._calls = calls

    async def PutLabelSet(self, request: pb.PutLabelSetRequest, call: Call) -> pb.PutLabelSetResponse:
        """Stores a label set as the next version of its name."""
        name = convert.read_name(request.name, "name")
        steps = len(request.labels.names) + len(request.labels.templates)
        labels = await off_loop(steps, lambda: convert.read_labels(request.labels, self._calls.limits))
        tokenizers = [spec.tokenizer for spec, _ in self._models.all()]
        shortest = min(tokenizers, key=lambda spec: spec.context_length, default=DEFAULT)
        warnings = await find_warnings_briefly(labels, shortest)
        with self._calls.audit.change("PutLabelSet", call.peer, label_set=name) as entry:
            stored, created = await self._label_sets.put(name, labels)
            entry["after"] = stored.ref.version
            entry["created"] = created
        return pb.PutLabelSetResponse(
            info=convert.write_info(stored),
            created=created,
            warnings=map(convert.write_warning, warnings),
        )

    async def GetLabelSet(self, request: pb.GetLabelSetRequest, call: Call) -> pb.GetLabelSetResponse:
        """Returns a label set."""
        stored = await self._label_sets.get(convert.read_label_set_ref(request.ref, "ref"))
        response = pb.GetLabelSetResponse(
            info=convert.write_info(stored), labels=convert.write_labels(stored.labels)
        )
        return check_fits(response, self._calls.limits, "ref")

    async def ListLabelSets(self, request: pb.ListLabelSetsRequest, call: Call) -> pb.ListLabelSetsResponse:
        """Lists the latest version of every label set by name, page by page."""
        after, size = pages.read_page(request)
        page = await self._label_sets.page(after, size + 1, convert.write_info, visible().sees_label_set)
        return pb.ListLabelSetsResponse(
            label_sets=page[:size],
            next_page_token=pages.write_page_token(page[size - 1].ref.name) if len(page) > size else "",
        )

    async def DeleteLabelSet(
        self, request: pb.DeleteLabelSetRequest, call: Call
    ) -> pb.DeleteLabelSetResponse:
        """Deletes a label set, or one version of it."""
        ref = convert.read_label_set_ref(request.ref, "ref")
        with self._calls.audit.change(
            "DeleteLabelSet", call.peer, label_set=ref.name, before=ref.version
        ) as entry:
            entry["deleted"] = deleted = await self._label_sets.delete(ref)
        return pb.DeleteLabelSetResponse(deleted=deleted)
