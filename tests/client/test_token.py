from __future__ import annotations

import warnings

import clipserve
import pytest
from client.fake_server import Refused
from clipserve import Client, TokenFile

SECRET = "s3cret-0123456789"


def sent(server) -> list[str | None]:
    return [call.metadata.get("authorization") for call in server.seen("GetServerInfo")]


def test_a_token_file_is_read_for_every_call(server, tmp_path):
    file = tmp_path / "token"
    file.write_text("one\n")
    with Client(server.address, token=TokenFile(file)) as client:
        client.info()
        file.write_text("two\n")
        client.info()
        file.unlink()
        with pytest.raises(FileNotFoundError):
            client.info()
        file.write_text(f"{SECRET} and more")
        with pytest.raises(clipserve.Unauthenticated, match="looks like the gateway's token file") as raised:
            client.info()
    assert SECRET not in str(raised.value)
    assert sent(server) == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("token", [f"{SECRET}\n", f"{SECRET} b", f"é{SECRET}", f"{SECRET}\x00"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(server, token):
    with pytest.raises(ValueError, match="the token has") as raised:
        Client(server.address, token=token)
    assert SECRET not in str(raised.value)
    with Client(server.address, token=lambda: token) as client:
        with pytest.raises(ValueError, match="the token has") as raised:
            client.info()
        with pytest.raises(ValueError, match="the token has"):
            list(client.embed_stream([["x"]]))
    assert SECRET not in str(raised.value)
    assert sent(server) == []


def test_errors_do_not_show_the_token(server):
    server.script("GetServerInfo", *[Refused("UNAUTHENTICATED", "UNAUTHENTICATED", "who are you")] * 2)
    with Client(server.address, token=SECRET) as client:
        with pytest.raises(clipserve.Unauthenticated) as raised:
            client.info()
        assert SECRET not in repr(raised.value)
        assert SECRET not in repr(raised.value.__cause__)
        assert SECRET not in repr(vars(client))


def test_a_token_that_leaves_the_machine_in_the_clear_is_warned_of():
    with pytest.warns(UserWarning, match="the token is sent to gateway:8600 without encryption") as warned:
        Client("gateway:8600", token=SECRET).close()
    assert SECRET not in str(warned[0].message)
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in ({"tls": True, "token": SECRET}, {}, {"token": ""}):
            Client("gateway:8600", **options).close()
        Client("localhost", token=SECRET).close()
