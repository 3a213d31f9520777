"""Each listener closes connections that are slow, large or too many, and says why where it can."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from dataclasses import replace
from typing import Any

import pytest
from clipserve_gateway.http_server import server
from clipserve_gateway.http_server.flow import ReadFlow, Turns

from testing.raw_http import Connection, connect, exchange, request, status, until_closed

CHUNKED = b"POST /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def keep_sending(connection: Connection, data: bytes, seconds: float = 0.0) -> bytes:
    """Sends the bytes again and again until the server closes the connection; what it answers."""

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                connection[1].write(data)
                await connection[1].drain()
                await asyncio.sleep(seconds)

    sending = asyncio.create_task(send())
    answer = await until_closed(connection)
    sending.cancel()
    return answer


@pytest.mark.parametrize("sent", [b"", b"GET /no", b"GET /now HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_without_complete_headers_is_closed(port, sent):
    answer = await exchange(port, sent)
    assert status(answer) == ("HTTP/1.1 408 Request Timeout" if sent else "")


async def test_a_client_that_resets_while_it_is_refused_ends_no_bound(start, echo, monkeypatch):
    def gone(transport: Any) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    port = (await start(echo)).port
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.selector_events._SelectorSocketTransport, "write_eof", gone)
        assert status(await exchange(port, b"GET /no")) == "HTTP/1.1 408 Request Timeout"
    assert status(await exchange(port, b"GET /no")) == "HTTP/1.1 408 Request Timeout"


async def test_a_connection_that_cannot_be_looked_at_ends_no_bound_of_others(start, echo, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("an error of this server")

    port = (await start(echo)).port
    with monkeypatch.context() as patch:
        patch.setattr(server.Connection, "look", fail)
        assert await exchange(port, b"GET /no") == b""
    assert status(await exchange(port, b"GET /no")) == "HTTP/1.1 408 Request Timeout"


async def test_a_request_that_waits_for_its_turn_is_not_too_late(port, monkeypatch):
    def wait(turns: Turns, flow: ReadFlow) -> None:
        asyncio.get_running_loop().call_later(0.6, at_once, turns, flow)

    at_once = Turns.wait
    monkeypatch.setattr(Turns, "wait", wait)
    assert status(await exchange(port, request("GET /now"))) == "HTTP/1.1 200 OK"


async def test_headers_that_trickle_do_not_keep_a_connection(port):
    connection = await connect(port)
    connection[1].write(b"GET /now HTTP/1.1\r\n")
    answer = await keep_sending(connection, b"a: b\r\n", 0.02)
    assert status(answer) == "HTTP/1.1 408 Request Timeout"


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
async def test_a_body_that_stops_ends_its_connection(start, echo, framing):
    web = await start(echo)
    answer = await exchange(web.port, b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n2\r\nab\r\n")
    assert status(answer) == "HTTP/1.1 408 Request Timeout"
    assert b"less than 1024 bytes a second" in answer


async def test_a_body_that_trickles_ends_its_connection(start, echo):
    connection = await connect((await start(echo)).port)
    connection[1].write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    assert status(await keep_sending(connection, b"x", 0.02)) == "HTTP/1.1 408 Request Timeout"


async def test_a_body_of_the_least_rate_is_received(start, echo):
    connection = await connect((await start(echo)).port)
    connection[1].write(request("POST /", close=True, Content_Length="4096"))
    for _ in range(8):
        connection[1].write(b"x" * 512)
        await asyncio.sleep(0.05)
    assert (await until_closed(connection)).endswith(b"\r\n\r\n" + b"x" * 4096)


async def test_a_server_that_does_not_read_blames_no_client(start, quick):
    """A body waits for room in memory: its client cannot send."""

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.5)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    web = await start(late)
    connection = await connect(web.port)
    connection[1].write(request("POST /", close=True, Content_Length="500000") + b"x" * 400_000)
    assert status(await until_closed(connection)) == "HTTP/1.1 204 No Content"


@pytest.mark.parametrize("body", [b"1\r\na\r\n" * 1000, b"1000\r\n" + b"a" * 4096 + b"\r\n"])
async def test_a_body_without_end_is_not_read_for_long_after_the_answer(port, body):
    connection = await connect(port)
    connection[1].write(CHUNKED)
    answer = await keep_sending(connection, body)
    assert status(answer) in ("HTTP/1.1 200 OK", "HTTP/1.1 405 Method Not Allowed")


async def test_the_rest_of_a_body_is_read_so_that_the_client_gets_its_answer(port):
    body = b"x" * (4 << 20)
    assert status(await exchange(port, request("GET /now", body))) == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("headers", [b"a: b\r\n" * 10_000, b"a: " + b"b" * 60_000, b"a: b\r\n" * 101])
async def test_too_many_headers_are_refused(port, headers):
    answer = await exchange(port, b"GET /now HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
    assert status(answer) == "HTTP/1.1 431 Request Header Fields Too Large"
    assert b"send fewer" in answer


async def test_a_line_without_end_is_refused(port):
    answer = await keep_sending(await connect(port), b"GET /" + b"a" * 60_000)
    assert status(answer) == "HTTP/1.1 431 Request Header Fields Too Large"


@pytest.mark.parametrize(
    "data",
    [
        b"GET\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"\r\n\r\n",
        b"GET /now SPDY/3\r\nHost: x\r\n\r\n",
        b"GET /now HTTP/1.1\r\n\r\n",
        b"GET /now HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /now HTTP/1.1\r\nHost: x\r\na b: c\r\n\r\n",
        b"GET /now HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET /now HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    ],
)
async def test_what_is_not_http_1_is_refused(port, data):
    assert status(await exchange(port, data)) == "HTTP/1.1 400 Bad Request"


async def test_another_version_of_http_is_refused(port):
    answer = await exchange(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(20))
    assert status(answer) == "HTTP/1.1 505 HTTP Version Not Supported"


async def test_a_chunk_that_is_not_valid_is_refused(start, echo):
    web = await start(echo)
    answer = await exchange(web.port, CHUNKED.replace(b"/now", b"/") + b"zz\r\n")
    assert status(answer) == "HTTP/1.1 400 Bad Request"


async def test_http_1_0_is_answered_and_closed(port):
    answer = await exchange(port, b"GET /now HTTP/1.0\r\n\r\n")
    assert status(answer) == "HTTP/1.1 200 OK"
    assert b"connection: close" in answer.lower()


async def test_an_upgrade_is_not_offered(port):
    answer = await exchange(port, request("GET /now", Upgrade="websocket", Connection="upgrade, close"))
    assert status(answer) == "HTTP/1.1 200 OK"


async def test_pipelined_requests_are_answered_in_order(start, echo):
    web = await start(echo)
    bodies = [str(number).encode() * 10_000 for number in range(10)]
    sent = b"".join(request("POST /", body, close=False) for body in bodies)
    answer = await exchange(web.port, sent + request("POST /", b"end"))
    found = [part.split(b"\r\n\r\n")[-1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert found == [*bodies, b"end"]


async def test_what_comes_after_the_last_request_of_a_connection_is_dropped(port):
    answer = await exchange(port, request("GET /now") + b"rubbish" * 10_000)
    assert (status(answer), answer.count(b"HTTP/1.1")) == ("HTTP/1.1 200 OK", 1)


async def test_one_more_connection_closes_the_one_that_waited_longest(port, quick):
    waiting = [await connect(port) for _ in range(quick.connections)]
    closing = [asyncio.create_task(until_closed(connection)) for connection in waiting]
    assert status(await exchange(port, request("GET /now"))) == "HTTP/1.1 200 OK"
    await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
    assert closing[0].done()
    for task in closing:
        await task


async def test_a_connection_too_many_is_refused_while_all_others_are_answered(start, quick):
    going = asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await going.wait()
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    web = await start(wait, replace(quick, connections=2))
    answers = [asyncio.create_task(exchange(web.port, request())) for _ in range(2)]
    while sum(not connection.waits for connection in web._open) < 2:
        await asyncio.sleep(0.01)
    refused = await exchange(web.port, request())
    assert status(refused) == "HTTP/1.1 503 Service Unavailable"
    assert b"2 connections, its limit" in refused
    going.set()
    assert [status(answer) for answer in await asyncio.gather(*answers)] == ["HTTP/1.1 204 No Content"] * 2


async def test_an_answer_that_is_not_read_ends_its_connection(port):
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(request("GET /long"))
        # The buffers of both sides fill, and the server gives up.
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(0.05)
                slow.send(b"x")


async def test_an_idle_connection_is_closed(start, echo):
    connection = await connect((await start(echo)).port)
    connection[1].write(request(close=False))
    assert status(await until_closed(connection)) == "HTTP/1.1 200 OK"


async def test_an_old_connection_ends_with_its_next_answer(start, echo, quick):
    web = await start(echo, replace(quick, age_seconds=0))
    answer = await exchange(web.port, request(close=False))
    assert b"connection: close" in answer.lower()


async def test_a_client_that_leaves_cancels_its_request(start):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    _, writer = await connect((await start(wait)).port)
    writer.write(request())
    await begun.wait()
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 10)


async def test_the_task_of_a_request_ends_once_its_answer_is_sent(start, echo, quick):
    done = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asyncio.current_task().add_done_callback(lambda _: done.set())
        await echo(scope, receive, send)

    web = await start(app, replace(quick, stall_seconds=30))
    reader, writer = await connect(web.port)
    writer.write(request("GET /long"))
    await reader.readuntil(b"\r\n\r\n")
    assert not done.is_set()
    await until_closed((reader, writer))
    await asyncio.wait_for(done.wait(), 10)


def test_parts_of_an_answer_do_not_wait_for_acknowledgements():
    with server.listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_an_error_of_the_application_is_answered(start):
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    web = await start(fail)
    assert status(await exchange(web.port, request())) == "HTTP/1.1 500 Internal Server Error"


async def test_a_stop_lets_requests_end_and_takes_no_more(start, echo):
    going = asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await going.wait()
        await echo(scope, receive, send)

    web = await start(wait)
    answer = asyncio.create_task(exchange(web.port, request(close=False)))
    idle = asyncio.create_task(until_closed(await connect(web.port)))
    while not web._state.tasks:
        await asyncio.sleep(0.01)
    stopping = asyncio.create_task(web.stop(30))
    assert await idle == b""
    with pytest.raises(ConnectionRefusedError):
        await connect(web.port)
    going.set()
    assert b"connection: close" in (await answer).lower()
    await stopping


async def test_a_stop_ends_requests_after_its_grace(start):
    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    web = await start(wait)
    answer = asyncio.create_task(exchange(web.port, request()))
    while not web._state.tasks:
        await asyncio.sleep(0.01)
    await web.stop(0.05)
    assert await answer == b""
