"""Requests of chosen sizes."""

from __future__ import annotations

import pytest
from client.pictures import png
from clipserve.tools.verification.requests import ModelReplaced, Requests, cut
from clipserve.v1 import common_pb2


@pytest.mark.parametrize(
    ("count", "sizes", "expected"),
    [
        (0, [1], []),
        (5, [2], [range(2), range(2, 4), range(4, 5)]),
        (7, [1, 2], [range(1), range(1, 3), range(3, 4), range(4, 6), range(6, 7)]),
    ],
)
def test_lists_are_cut_into_these_sizes(count, sizes, expected):
    assert list(cut(count, sizes)) == expected


def requests(client, limit=16, advance=lambda count: None) -> Requests:
    return Requests(client, client.info().models[0], limit, advance)


def test_each_request_has_its_size_and_no_more_than_the_server_takes(client, server):
    done: list[int] = []
    rows = requests(client, 4, done.append).embed("texts", list("abcdefghij"), [1, 2, 9])
    assert [call.items for call in server.seen("Embed")] == [1, 2, 4, 1, 2]
    assert rows.vectors.shape == (10, 16)
    assert done == [1, 2, 4, 1, 2]


def test_a_stream_gives_the_rows_of_single_requests(client, server):
    pictures = [png(seed) for seed in range(5)]
    streamed = requests(client).stream("images", pictures, 2)
    assert [call.items for call in server.seen("EmbedStream")] == [2, 2, 1]
    assert (streamed.vectors == requests(client).embed("images", pictures, [5]).vectors).all()


def test_bad_inputs_and_truncated_texts_keep_their_positions(client):
    rows = requests(client).embed("images", [png(1), b"junk", png(2)], [2])
    assert list(rows.errors) == [1]
    rows = requests(client).embed("texts", ["a", "b", "long " * 80], [2])
    assert rows.truncated == {2}


def test_another_model_under_the_same_name_is_noticed(client, server):
    sender = requests(client)
    server.state.model = common_pb2.ModelRef(name="fake", fingerprint="e" * 64, embed_dim=16)
    with pytest.raises(ModelReplaced):
        sender.embed("texts", ["a"], [1])
