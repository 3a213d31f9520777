from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterable

import pytest
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.http_adapter.body import (
    BYTES_ON_LOOP,
    GZIP_RATIO,
    MOST_MEMBERS,
    Body,
    deflate,
    inflate,
)
from clipserve_gateway.http_adapter.errors import BodyTooLarge, UnsupportedEncoding
from starlette.datastructures import Headers
from starlette.types import Message

LIMIT = 1 << 20


class Client:
    """Sends these parts of a body, and disconnects."""

    def __init__(self, parts: Iterable[bytes], *, ends: bool = True) -> None:
        *first, last = parts
        self.events = [{"type": "http.request", "body": part, "more_body": True} for part in first]
        self.events.append({"type": "http.request", "body": last, "more_body": not ends})
        self.events.append({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return self.events.pop(0)


def body(*parts: bytes, ends: bool = True, **headers: str) -> Body:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Body(Headers(named), Client(parts, ends=ends).receive, LIMIT)


async def test_a_body_of_several_parts_is_read_whole():
    assert await body(b"ab", b"", b"c").read() == b"abc"


async def test_a_client_that_leaves_within_the_body_cancels_the_call():
    with pytest.raises(asyncio.CancelledError):
        await body(b"ab", ends=False).read()


@pytest.mark.parametrize("size", [10, BYTES_ON_LOOP * 50])
async def test_gzip_is_decompressed(size):
    content = bytes(i * i % 251 for i in range(size))
    assert await body(gzip.compress(content), content_encoding="gzip").read() == content
    assert await body(gzip.compress(content), content_encoding=" GZIP ").read() == content


async def test_an_empty_body_is_not_decompressed():
    assert await body(b"", content_encoding="gzip").read() == b""


def test_gzip_of_several_members_is_read_whole():
    assert inflate(gzip.compress(b"ab") + gzip.compress(b"") + gzip.compress(b"c"), LIMIT) == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"not gzip at all",
        zlib.compress(b"abc"),
        gzip.compress(b"abc")[:-1],
        gzip.compress(b"abc")[:5],
        gzip.compress(b"abc") + b"rest",
        gzip.compress(b"abc")[:-8] + bytes(8),
    ],
)
def test_damaged_gzip_is_refused(data):
    with pytest.raises(InvalidInput) as refused:
        inflate(data, LIMIT)
    assert refused.value.field == "content-encoding"


def test_gzip_of_too_many_members_is_refused():
    assert inflate(gzip.compress(b"a") * MOST_MEMBERS, LIMIT) == b"a" * MOST_MEMBERS
    with pytest.raises(InvalidInput, match="members"):
        inflate(gzip.compress(b"a") * (MOST_MEMBERS + 1), LIMIT)


@pytest.mark.parametrize("members", [1, 50])
def test_a_bomb_is_refused_once_it_exceeds_the_limit(members):
    bomb = gzip.compress(bytes(2 * LIMIT // members)) * members
    assert inflate(bomb, 2 * LIMIT)
    with pytest.raises(BodyTooLarge):
        inflate(bomb, LIMIT)


async def test_unknown_encodings_are_refused_before_the_body_is_read():
    with pytest.raises(UnsupportedEncoding, match="gzip or identity"):
        await Body(Headers({"content-encoding": "br"}), None, LIMIT).read()


async def test_two_encodings_are_refused_before_the_body_is_read():
    headers = Headers(raw=[(b"content-encoding", b"identity"), (b"content-encoding", b"gzip")])
    body = Body(headers, None, LIMIT)
    with pytest.raises(InvalidInput, match="more than once") as refused:
        await body.read()
    assert (refused.value.field, body.expected) == ("content-encoding", 0)


async def test_a_body_that_says_that_it_is_too_large_is_not_read():
    with pytest.raises(BodyTooLarge):
        await Body(Headers({"content-length": str(LIMIT + 1)}), None, LIMIT).read()


async def test_a_body_without_end_is_read_up_to_the_limit():
    client = Client([bytes(LIMIT // 4)] * 100)
    with pytest.raises(BodyTooLarge):
        await Body(Headers({"transfer-encoding": "chunked"}), client.receive, LIMIT).read()
    assert len(client.events) == 101 - 5


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 0),
        ({"content-length": "1000"}, 1000),
        ({"content-length": str(LIMIT + 1)}, 0),
        ({"transfer-encoding": "chunked"}, LIMIT),
        ({"content-length": "10", "content-encoding": "gzip"}, 10 * GZIP_RATIO),
        ({"content-length": "10000", "content-encoding": "gzip"}, LIMIT),
        ({"transfer-encoding": "chunked", "content-encoding": "gzip"}, LIMIT),
    ],
)
def test_room_is_needed_for_what_a_body_may_become(headers, expected):
    assert Body(Headers(headers), None, LIMIT).expected == expected


def test_no_gzip_becomes_more_than_the_ratio():
    packed = gzip.compress(bytes(16 << 20), 9)
    assert (16 << 20) / len(packed) <= GZIP_RATIO


def test_what_is_compressed_is_gzip():
    assert gzip.decompress(deflate(b"abc" * 1000)) == b"abc" * 1000
