"""Checks of a fake server that is right, and of fake servers that are wrong in one way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from client.fake_base import invalid
from client.fake_clip import FakeClip
from client.golden_files import write_golden
from clipserve.tools.verification import remedies
from clipserve.tools.verification.compare import Check
from clipserve.tools.verification.golden import read_golden
from clipserve.tools.verification.run import planned, verify
from clipserve.v1 import clip_pb2, common_pb2


@pytest.fixture
def checks(client, tmp_path) -> Callable[..., dict[str, Check]]:
    """Verifies the fake server's model with its golden file; the checks by name."""

    def run(*, golden: bool = True, model: int = 0, **facts: Any) -> dict[str, Check]:
        read = read_golden(write_golden(tmp_path / "a.npz", **facts)) if golden else None
        info = client.info()
        found = list(verify(client, info, info.models[model], read))
        assert len({check.name for check in found}) == len(found)
        return {check.name: check for check in found}

    return run


def failed(found: dict[str, Check]) -> set[str]:
    return {name for name, check in found.items() if check.status == "failed"}


def times(factor: float, rows: list[Any]) -> list[Any]:
    """The rows, scaled."""
    for row in rows:
        vector = np.frombuffer(row.embedding.float32_le, "<f4") * np.float32(factor)
        row.embedding.float32_le = vector.tobytes()
    return rows


def test_a_right_server_passes_every_check(checks):
    found = checks()
    assert {check.status for check in found.values()} == {"passed"}
    assert set(found) == {
        "fingerprint",
        "images one at a time",
        "images as recorded",
        "different images differ",
        "images in requests of 1 to 8",
        "images in requests of 16",
        "images in requests of 11 and 13",
        "images in other orders",
        "images in a stream",
        "images normalized",
        "texts one at a time",
        "texts as recorded",
        "truncated texts",
        "different texts differ",
        "texts in requests of 1 to 8",
        "texts in requests of 16",
        "texts in requests of 11 and 13",
        "texts in other orders",
        "texts in a stream",
        "texts normalized",
        "image as array and as file",
        "image as Pillow image and as file",
        "scores of labels",
    }


def test_without_a_golden_file_only_the_answers_are_compared(checks):
    found = checks(golden=False, model=1)
    assert {check.status for check in found.values()} == {"passed"}
    assert not [name for name in found if "recorded" in name or name == "fingerprint"]


@pytest.mark.parametrize("golden", [True, False])
def test_as_many_inputs_are_sent_as_planned(client, server, tmp_path, golden):
    read = read_golden(write_golden(tmp_path / "a.npz")) if golden else None
    done: list[int] = []
    list(verify(client, client.info(), client.info().models[0], read, done.append))
    assert sum(done) == planned(read)
    # The server's own count also has the inputs of the check of labels.
    sent = sum(call.items for method in ("Embed", "EmbedStream") for call in server.seen(method))
    assert planned(read) <= sent < planned(read) + 20


def test_sizes_from_1_to_8_are_sent(checks, server):
    checks()
    assert {*range(1, 9), 11, 13, 16} <= {call.items for call in server.seen("Embed")}


def test_rows_that_are_exchanged_in_a_request_are_found(checks, server):
    def exchange(method: str, request: Any, rows: list[Any]) -> list[Any]:
        return [rows[1], rows[0], *rows[2:]] if len(rows) > 1 else rows

    server.state.spoil = exchange
    found = checks()
    assert {"images as recorded", "images one at a time", "texts as recorded"} & failed(found) == set()
    assert {
        f"{kind} in {how}"
        for kind in ("images", "texts")
        for how in ("requests of 1 to 8", "requests of 16", "other orders", "a stream")
    } <= failed(found)
    check = found["images in requests of 16"]
    assert check.remedy == remedies.ROWS
    assert "which got the embedding of number" in check.detail


def test_a_single_size_that_is_wrong_is_found(checks, server):
    def spoil(method: str, request: Any, rows: list[Any]) -> list[Any]:
        if len(rows) == 5 and method == "Embed":
            noise = np.frombuffer(rows[4].embedding.float32_le, "<f4") + np.float32(0.3)
            rows[4].embedding.float32_le = noise.tobytes()
        return rows

    server.state.spoil = spoil
    found = checks()
    assert failed(found) >= {"images in requests of 1 to 8", "texts in requests of 1 to 8"}
    assert not failed(found) & {"images in requests of 16", "images in a stream", "images as recorded"}
    assert found["texts in requests of 1 to 8"].remedy == remedies.BATCH


def test_vectors_of_another_length_differ_from_the_recorded_ones(checks, server):
    server.state.spoil = lambda method, request, rows: times(1.1, rows) if request.raw else rows
    found = checks()
    assert failed(found) == {"images as recorded", "texts as recorded"}
    assert "lengths differ by at most 10 %" in found["images as recorded"].detail
    assert found["images as recorded"].remedy == remedies.RECORDED


def test_normalized_vectors_must_have_length_1(checks, server):
    server.state.spoil = lambda method, request, rows: rows if request.raw else times(1.1, rows)
    assert failed(checks()) == {"images normalized", "texts normalized"}


def test_other_directions_differ_from_the_recorded_ones(checks, server):
    def turned(method: str, request: Any, rows: list[Any]) -> list[Any]:
        for item, row in zip(request.inputs, rows, strict=True):
            if item.WhichOneof("input") == "image":
                vector = np.roll(np.frombuffer(row.embedding.float32_le, "<f4"), 1)
                row.embedding.float32_le = vector.tobytes()
        return rows

    server.state.spoil = turned
    found = checks()
    assert failed(found) == {"images as recorded", "scores of labels"}
    assert "worst: '" in found["images as recorded"].detail


def test_flags_of_truncated_texts_must_be_the_recorded_ones(checks, server):
    def unflagged(method: str, request: Any, rows: list[Any]) -> list[Any]:
        for row in rows:
            row.truncated = False
        return rows

    server.state.spoil = unflagged
    for golden in (True, False):
        found = checks(golden=golden)
        assert failed(found) == {"truncated texts"}
        assert "is not reported as truncated" in found["truncated texts"].detail

    def flagged(method: str, request: Any, rows: list[Any]) -> list[Any]:
        for row in rows:
            row.truncated = True
        return rows

    server.state.spoil = flagged
    assert failed(checks()) == {"truncated texts"}


@pytest.mark.parametrize("number", [np.nan, 0.0, np.inf])
def test_embeddings_that_are_none_fail_at_once(checks, server, number):
    server.state.spoil = lambda method, request, rows: times(number, rows)
    found = checks()
    assert failed(found) >= {"images one at a time", "texts one at a time"}
    assert "images as recorded" not in found


def test_a_server_that_answers_every_input_alike_is_found(checks, server):
    first: list[bytes] = []

    def same(method: str, request: Any, rows: list[Any]) -> list[Any]:
        for row in rows:
            first.append(row.embedding.float32_le)
            row.embedding.float32_le = first[0]
        return rows

    server.state.spoil = same
    assert failed(checks(golden=False)) >= {"different images differ", "different texts differ"}


def test_a_stream_that_differs_is_found(checks, server):
    server.state.spoil = lambda method, request, rows: times(2 if method == "EmbedStream" else 1, rows)
    assert failed(checks()) == {"images in a stream", "texts in a stream"}


def test_a_form_of_a_picture_that_is_read_otherwise_is_found(checks, server):
    def spoil(method: str, request: Any, rows: list[Any]) -> list[Any]:
        for item, row in zip(request.inputs, rows, strict=True):
            if item.image.WhichOneof("source") == "raw":
                times(1.5, [row])
        return rows

    server.state.spoil = spoil
    found = failed(checks())
    assert found == {"image as array and as file", "image as Pillow image and as file"}


@pytest.mark.parametrize("bias", [None, -3.0])
def test_scores_of_labels_must_follow_their_formula(checks, server, monkeypatch, bias):
    server.state.logit_bias = bias
    assert failed(checks()) == set()
    right = FakeClip.scores

    def doubled(*args: Any) -> list[clip_pb2.LabelScore]:
        scores = right(*args)
        for score in scores:
            score.probability /= 2
        return scores

    monkeypatch.setattr(FakeClip, "scores", doubled)
    found = checks()
    assert failed(found) == {"scores of labels"}
    assert ("sigmoid" if bias else "softmax") in found["scores of labels"].detail


def test_stale_embeddings_of_labels_are_found(checks, server, monkeypatch):
    right = FakeClip.label_embeddings
    monkeypatch.setattr(FakeClip, "label_embeddings", lambda *args: np.roll(right(*args), 1, axis=0))
    found = checks()
    assert failed(found) == {"scores of labels"}
    assert found["scores of labels"].remedy == remedies.LABELS


def test_a_refused_input_fails_the_check_with_the_servers_reason(checks, server):
    def refuse(method: str, request: Any, rows: list[Any]) -> list[Any]:
        if len(rows) == 16:
            rows[7] = clip_pb2.EmbedResult(status=invalid("IMAGE_UNREADABLE", "cannot read it").status())
        return rows

    server.state.spoil = refuse
    found = checks()
    assert "images in requests of 16" in failed(found)
    assert "images in requests of 1 to 8" not in failed(found)
    # 36 inputs in requests of 16: two requests are spoiled.
    assert "2 of 36 inputs were refused: cannot read it" in found["images in requests of 16"].detail


def test_another_fingerprint_fails_and_nothing_recorded_is_compared(checks):
    found = checks(fingerprint="0" * 64)
    assert failed(found) == {"fingerprint"}
    assert found["images as recorded"].status == "skipped"
    assert found["texts as recorded"].status == "skipped"
    assert found["truncated texts"].status == "passed"


def test_a_model_that_is_not_ready_is_one_failed_check(checks, server):
    server.state.ready = False
    assert checks()["served"].remedy == remedies.NOT_READY


def test_a_model_that_is_replaced_meanwhile_is_told(checks, server):
    def replace(method: str, request: Any, rows: list[Any]) -> list[Any]:
        if len(rows) == 8:
            server.state.model = common_pb2.ModelRef(name="fake", fingerprint="e" * 64, embed_dim=16)
        return rows

    server.state.spoil = replace
    found = checks()
    assert found["served"].remedy == remedies.REPLACED


def test_a_whole_request_that_fails_is_a_failed_check(checks, server):
    def fail(method: str, request: Any, rows: list[Any]) -> list[Any]:
        if len(rows) == 3:
            raise invalid("INVALID_INPUT", "three are too many", "inputs")
        return rows

    server.state.spoil = fail
    assert "three are too many" in checks()["served"].detail
