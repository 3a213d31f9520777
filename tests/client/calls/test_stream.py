from __future__ import annotations

import threading
import time

import clipserve
import numpy as np
import pytest
from client.fake_server import Refused
from client.pictures import png
from clipserve import Client

GONE = Refused("UNAVAILABLE", "", "connection renewed", details=False)
BUSY = Refused("RESOURCE_EXHAUSTED", "OVERLOADED", "busy")


def texts(count):
    return [[f"text {i} a", f"text {i} b"] for i in range(count)]


def test_batches_are_answered_in_order(client):
    results = list(client.embed_stream(texts(10), kind="texts"))
    for i, result in enumerate(results):
        expected = client.embed_texts([f"text {i} a", f"text {i} b"]).embeddings
        np.testing.assert_array_equal(result.embeddings, expected)


def test_a_batch_too_large_for_a_message_comes_back_whole(server, client):
    (result,) = client.embed_stream([[f"{i}" for i in range(40)]], kind="texts")
    assert len(result) == 40
    assert [call.items for call in server.seen("EmbedStream")] == [16, 16, 8]


def test_errors_have_the_callers_positions(client):
    pictures = [png(i % 5, 4, 4) for i in range(39)] + [b"broken"]
    (result,) = client.embed_stream([pictures], on_error="return")
    assert list(result.errors) == [39]
    assert result.errors[39].field == "images[39].content"


def test_only_a_window_of_batches_is_drawn_ahead(server, client):
    drawn = 0

    def source():
        nonlocal drawn
        for batch in texts(30):
            drawn += 1
            yield batch

    for done, _ in enumerate(client.embed_stream(source(), kind="texts"), 1):
        assert drawn <= done + server.state.limits.stream_window
        time.sleep(0.002)


def test_results_come_while_the_source_is_still_open(client):
    more = threading.Event()

    def source():
        yield ["first"]
        time.sleep(0.2)
        yield ["second"]
        assert more.wait(5), "the first result should come before the source ends"
        yield ["third"]

    results = client.embed_stream(source(), kind="texts")
    first = None
    for result in results:
        if first is None:
            first = result
            more.set()
    assert len(first) == 1


def test_a_broken_stream_is_opened_anew_without_loss(server, client):
    server.script("EmbedStream", 0.01, GONE, 0.01, 0.01, GONE, 0.01)
    results = list(client.embed_stream(texts(12), kind="texts"))
    assert len(results) == 12
    for i, result in enumerate(results):
        expected = client.embed_texts([f"text {i} a", f"text {i} b"]).embeddings
        np.testing.assert_array_equal(result.embeddings, expected)


def test_a_batch_without_room_is_sent_again(server, client):
    server.script("EmbedStream", 0.01, BUSY)
    assert len(list(client.embed_stream(texts(5), kind="texts"))) == 5


def test_a_stream_that_stays_broken_fails(server, client):
    server.script("EmbedStream", *[GONE] * 50)
    with pytest.raises(clipserve.Unavailable):
        list(client.embed_stream(texts(5), kind="texts"))
    assert len(server.seen("EmbedStream")) <= 4 * 3


def test_a_refused_batch_raises_or_is_returned(server, client):
    refused = Refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "too long", "inputs[1].text")
    server.script("EmbedStream", 0.0, refused)
    results = list(client.embed_stream(texts(3), kind="texts", on_error="return"))
    assert [len(result.errors) for result in results] == [0, 2, 0]
    assert results[1].errors[0].field == "texts[1]"
    server.script("EmbedStream", 0.0, refused)
    with pytest.raises(clipserve.LimitExceeded):
        list(client.embed_stream(texts(3), kind="texts"))


def test_no_answer_within_the_timeout_is_an_error(server, client):
    server.script("EmbedStream", 5.0)
    with pytest.raises(clipserve.DeadlineExceeded, match=r"within 0.2 s"):
        list(client.embed_stream(texts(3), kind="texts", timeout=0.2))


def test_an_error_of_the_source_is_the_callers(client):
    def source():
        yield ["fine"]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(client.embed_stream(source(), kind="texts"))


def test_leaving_early_ends_the_stream(client):
    results = client.embed_stream(texts(1000), kind="texts")
    next(results)
    results.close()
    names = [thread.name for thread in threading.enumerate()]
    deadline = time.monotonic() + 5
    while "clipserve-stream" in names and time.monotonic() < deadline:
        time.sleep(0.01)
        names = [thread.name for thread in threading.enumerate()]
    assert "clipserve-stream" not in names


def test_nothing_to_embed_is_no_stream(server, client):
    assert list(client.embed_stream([])) == []
    assert [len(result) for result in client.embed_stream([[], []])] == [0, 0]
    assert not server.seen("EmbedStream")


def test_a_closed_client_streams_no_more(server):
    client = Client(server.address)
    client.info()
    client.close()
    with pytest.raises(clipserve.ClientNotUsable, match="closed"):
        list(client.embed_stream(texts(3), kind="texts"))
    with pytest.raises(clipserve.ClientNotUsable, match="closed"):
        client.embed_texts(["x"])
