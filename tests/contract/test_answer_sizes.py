"""Requests that the SDK cuts to size ask for no larger answers than the server gives."""

from __future__ import annotations

from dataclasses import asdict

from clipserve.jobs.classify import ClassifyJob
from clipserve.labels import LabelSet, NoneOfTheAbove
from clipserve.types import Limits, ServerInfo
from clipserve.v1 import clip_pb2, common_pb2
from clipserve_gateway.convert.clip import check_classify_answer, read_classify
from clipserve_gateway.convert.labels import read_labels
from clipserve_gateway.settings import MIB, Settings
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Settings(max_message_bytes=MIB).limits
INFO = ServerInfo("", (), "", Limits(**asdict(LIMITS)), "", False)
IMAGE = common_pb2.Image(raw=common_pb2.RawImage(rgb=b"abc", width=1, height=1))


@given(
    st.lists(st.integers(1, LIMITS.max_label_bytes - 10), min_size=1, max_size=60),
    st.integers(0, 100),
    st.sampled_from([None, "", "n" * 4096]),
)
def test_what_the_sdk_sends_at_once_can_be_answered(widths, top_k, none):
    names = [f"{n:09} " + "a" * width for n, width in enumerate(widths)]
    names = [name[: LIMITS.max_label_bytes] for name in names]
    labels = LabelSet(names, none_of_the_above=None if none is None else NoneOfTheAbove(none))
    job = ClassifyJob([], labels, top_k=top_k)
    capacity = job.capacity(INFO, LIMITS.max_items_per_call)
    request = job.request([IMAGE] * capacity.max_items)
    call = read_classify(request, LIMITS)
    assert isinstance(request, clip_pb2.ClassifyRequest)
    check_classify_answer(call, read_labels(request.labels, LIMITS), LIMITS)
