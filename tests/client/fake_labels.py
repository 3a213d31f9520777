"""LabelSetService of the fake server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from client.fake_base import Guard, Refused, State, invalid, page_of
from client.fake_model import CONTEXT_WORDS
from clipserve.v1 import clip_pb2, labels_pb2, labels_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


def check_labels(labels: clip_pb2.LabelSet, limits: clip_pb2.Limits) -> None:
    """Raises Refused for invalid labels."""
    names = list(labels.names)
    if not names:
        raise invalid("INVALID_INPUT", "name at least one label", "labels.names")
    if len(names) > limits.max_labels:
        raise invalid("LIMIT_EXCEEDED", "too many labels", "labels.names")
    for i, name in enumerate(names):
        if not name.strip() or name in names[:i] or "\0" in name:
            raise invalid("INVALID_INPUT", "empty, repeated or broken label", f"labels.names[{i}]")
    for i, template in enumerate(labels.templates):
        if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
            raise invalid("INVALID_INPUT", "one {} please", f"labels.templates[{i}]")
    if len(labels.thresholds) not in (0, len(names)):
        raise invalid("INVALID_INPUT", "one threshold for each label", "labels.thresholds")
    if labels.HasField("none_of_the_above") and (
        (labels.none_of_the_above.name or "none of the above") in names
    ):
        raise invalid("INVALID_INPUT", "that is a label already", "labels.none_of_the_above.name")


def label_warnings(labels: clip_pb2.LabelSet) -> Iterator[clip_pb2.LabelWarning]:
    """Like the real server. The fake model reads lower-case words, at most CONTEXT_WORDS of them."""
    same: dict[tuple[str, ...], list[int]] = {}
    for i, name in enumerate(labels.names):
        same.setdefault(tuple(name.lower().split()[: CONTEXT_WORDS - 4]), []).append(i)
    cut = [i for i, name in enumerate(labels.names) if len(name.split()) > CONTEXT_WORDS - 4]
    warnings = [("CUT", cut), *(("SAME", group) for group in same.values() if len(group) > 1)]
    for reason, some in warnings if cut else warnings[1:]:
        names = ", ".join(labels.names[i][:20] for i in some)
        yield clip_pb2.LabelWarning(
            reason=f"LABEL_WARNING_REASON_{reason}", labels=some, count=len(some), message=f"look at {names}"
        )


def cut_prompts(labels: clip_pb2.LabelSet) -> int:
    """Number of prompts with more words than the fake model reads."""
    templates = list(labels.templates) or ["a photo of a {}."]
    prompts = [template.replace("{}", name) for name in labels.names for template in templates]
    return sum(len(prompt.split()) > CONTEXT_WORDS for prompt in prompts)


@dataclass(frozen=True)
class Kept:
    """One version of a label set."""

    name: str
    version: int
    labels: clip_pb2.LabelSet

    @property
    def content(self) -> str:
        """Equal for equal labels."""
        return hashlib.sha256(self.labels.SerializeToString(deterministic=True)).hexdigest()


class LabelSetStore:
    """Label sets by name, with their versions, oldest first."""

    def __init__(self) -> None:
        self.sets: dict[str, list[Kept]] = {}
        self.last: dict[str, int] = {}

    def get(self, ref: clip_pb2.LabelSetRef) -> Kept:
        """One version; 0 means the latest."""
        for kept in reversed(self.sets.get(ref.name, [])):
            if ref.version in (0, kept.version):
                return kept
        raise Refused("NOT_FOUND", "LABEL_SET_NOT_FOUND", f"no label set {ref.name!r}", "name")

    def put(self, name: str, labels: clip_pb2.LabelSet) -> tuple[Kept, bool]:
        """Stores the next version, unless it equals the latest."""
        versions = self.sets.setdefault(name, [])
        made = Kept(name, self.last.get(name, 0) + 1, labels)
        if versions and versions[-1].content == made.content:
            return versions[-1], False
        self.last[name] = made.version
        versions.append(made)
        return made, True

    def delete(self, ref: clip_pb2.LabelSetRef) -> int:
        """Deletes one version, or all."""
        self.get(ref)
        before = self.sets.pop(ref.name)
        left = [kept for kept in before if ref.version and kept.version != ref.version]
        if left:
            self.sets[ref.name] = left
        return len(before) - len(left)

    def info(self, kept: Kept) -> labels_pb2.LabelSetInfo:
        """The info of one version."""
        return labels_pb2.LabelSetInfo(
            ref=clip_pb2.LabelSetRef(name=kept.name, version=kept.version),
            label_count=len(kept.labels.names),
            template_count=len(kept.labels.templates),
            none_of_the_above=kept.labels.HasField("none_of_the_above"),
            content_hash=kept.content,
            create_time=Timestamp(seconds=1_700_000_000),
            versions=[other.version for other in self.sets[kept.name]],
        )


class FakeLabelSets(Guard, labels_pb2_grpc.LabelSetServiceServicer):
    """LabelSetService."""

    def __init__(self, state: State, store: LabelSetStore) -> None:
        super().__init__(state)
        self.store = store

    def PutLabelSet(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            if not NAME.fullmatch(request.name):
                raise invalid("INVALID_INPUT", "bad name", "name")
            check_labels(request.labels, self.state.limits)
            labels = clip_pb2.LabelSet()
            labels.CopyFrom(request.labels)
            labels.templates.extend([] if labels.templates else ["a photo of a {}."])
            kept, created = self.store.put(request.name, labels)
            return labels_pb2.PutLabelSetResponse(
                info=self.store.info(kept), created=created, warnings=label_warnings(labels)
            )

        return self.call("PutLabelSet", len(request.labels.names), context, answer)

    def GetLabelSet(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            kept = self.store.get(request.ref)
            return labels_pb2.GetLabelSetResponse(info=self.store.info(kept), labels=kept.labels)

        return self.call("GetLabelSet", 0, context, answer)

    def ListLabelSets(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            latest = [(name, self.store.info(kept[-1])) for name, kept in self.store.sets.items()]
            page, token = page_of(latest, request)
            return labels_pb2.ListLabelSetsResponse(label_sets=page, next_page_token=token)

        return self.call("ListLabelSets", 0, context, answer)

    def DeleteLabelSet(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            return labels_pb2.DeleteLabelSetResponse(deleted=self.store.delete(request.ref))

        return self.call("DeleteLabelSet", 0, context, answer)
