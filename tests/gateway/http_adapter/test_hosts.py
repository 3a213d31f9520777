from __future__ import annotations

import pytest
from clipserve_gateway.http_adapter.hosts import is_own

from tests.gateway.http_adapter.conftest import Start


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8602",
        "LOCALHOST",
        "app.localhost:1",
        "127.0.0.1:8602",
        "[::1]:8602",
        "10.0.0.5",
        "",
    ],
)
def test_addresses_and_localhost_are_own(host: str):
    assert is_own(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8602", "localhost.evil.example", "127.0.0.1.evil.example", "a@b"]
)
def test_names_of_elsewhere_are_not(host: str):
    assert not is_own(host)


async def test_a_page_cannot_give_its_name_to_a_gateway_of_this_machine(start: Start):
    api = await start()
    answer = await api.call("ClipService/GetServerInfo", headers={"host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (421, "permission_denied")
    assert (await api.call("ClipService/GetServerInfo", headers={"host": "localhost:8602"})).is_success


@pytest.mark.parametrize("options", [{"host": "0.0.0.0"}, {"api_host": "192.0.2.1"}])
async def test_a_gateway_in_a_network_has_any_name(start: Start, options: dict[str, str]):
    api = await start(**options)
    answer = await api.call("ClipService/GetServerInfo", headers={"host": "gateway.example"})
    assert answer.status_code == 200


async def test_a_gateway_with_tokens_has_any_name(start: Start):
    api = await start("web")
    answer = await api.call("ClipService/GetServerInfo", headers={"host": "gateway.example"})
    assert answer.status_code == 401
