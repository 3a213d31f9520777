"""Stored label sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from clipserve.calls.base import Calls
from clipserve.inputs.text_encoding import utf8
from clipserve.jobs.warn import check_label_names, warn_of_labels, warn_of_texts
from clipserve.labels import LabelSet, to_label_set
from clipserve.messages.point_requests import PAGE_SIZE
from clipserve.types import LabelSetInfo, NamedLabelSet
from clipserve.v1 import clip_pb2, labels_pb2
from clipserve.wire.label_sets import read_info, read_labels, read_warnings, write_labels


class LabelSetCalls(Calls):
    """Methods of LabelSetService."""

    def put_label_set(
        self,
        name: str,
        labels: LabelSet | Iterable[str],
        *,
        templates: Sequence[str] | None = None,
        thresholds: Sequence[float] | float | None = None,
        timeout: float | None = None,
    ) -> tuple[LabelSetInfo, bool]:
        """Stores a label set as the next version of a name, unless it equals the latest version.

        Returns the stored label set's info, and whether it is a new version. Gives a LabelsWarning if the
        model reads labels as the same text or truncates them.

        Args:
            name: 1 to 128 letters, digits, `_`, `.` and `-`; the first is a letter or `_`.
            templates, thresholds: as in `classify`; they override those of a LabelSet.
        """
        label_set = to_label_set(labels, templates, thresholds)
        request = labels_pb2.PutLabelSetRequest(name=utf8(name, "name"), labels=write_labels(label_set))
        response = self._call("PutLabelSet", request, timeout)
        warnings = read_warnings(response.warnings)
        warn_of_texts(check_label_names(label_set))
        warn_of_labels(warnings)
        return replace(read_info(response.info), warnings=warnings), bool(response.created)

    def get_label_set(self, name: str, version: int = 0, *, timeout: float | None = None) -> NamedLabelSet:
        """A stored label set; version 0 is the latest. Raises LabelSetNotFound."""
        request = labels_pb2.GetLabelSetRequest(ref=clip_pb2.LabelSetRef(name=name, version=version))
        response = self._call("GetLabelSet", request, timeout)
        return NamedLabelSet(read_info(response.info), read_labels(response.labels))

    def list_label_sets(self, *, timeout: float | None = None) -> tuple[LabelSetInfo, ...]:
        """The latest version of every stored label set, sorted by name."""
        pages = self._pages("ListLabelSets", labels_pb2.ListLabelSetsRequest(page_size=PAGE_SIZE), timeout)
        return tuple(read_info(info) for page in pages for info in page.label_sets)

    def delete_label_set(self, name: str, version: int = 0, *, timeout: float | None = None) -> int:
        """Deletes one version of a label set, or all versions (0). Returns the number of deleted versions.

        Raises LabelSetNotFound.
        """
        request = labels_pb2.DeleteLabelSetRequest(ref=clip_pb2.LabelSetRef(name=name, version=version))
        return int(self._call("DeleteLabelSet", request, timeout, idempotent=False).deleted)
