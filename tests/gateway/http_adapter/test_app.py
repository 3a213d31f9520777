from __future__ import annotations

import pytest
from clipserve_gateway.settings import Settings
from pydantic import ValidationError

from tests.gateway.http_adapter.conftest import EMBED, Api, Start

ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,connect-protocol-version",
}


async def test_pages_of_other_origins_may_not_call_by_default(api: Api):
    preflight = await api.http.options(EMBED, headers={"origin": ORIGIN, **PREFLIGHT})
    answer = await api.call("ClipService/GetServerInfo", headers={"origin": ORIGIN})
    for response in (preflight, answer):
        assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_pages_of_named_origins_may_call_with_a_token_and_read_what_matters(start: Start):
    api = await start(cors_origins=f"{ORIGIN}, http://localhost:3000")
    preflight = await api.http.options(EMBED, headers={"origin": ORIGIN, **PREFLIGHT})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    answer = await api.call("ClipService/GetServerInfo", headers={"origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    for response in (preflight, answer):
        assert "access-control-allow-credentials" not in response.headers
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "origin", ["https://other.example.com", "null", f"{ORIGIN}.evil.example", ORIGIN.upper()]
)
async def test_other_origins_may_not(start: Start, origin: str):
    api = await start(cors_origins=ORIGIN)
    preflight = await api.http.options(EMBED, headers={"origin": origin, **PREFLIGHT})
    assert preflight.status_code == 400
    answer = await api.call("ClipService/GetServerInfo", headers={"origin": origin})
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "value", ["example.com", "https://a.example/", "https://a.example/x", "ftp://a", "https://*.a"]
)
def test_an_origin_has_a_scheme_and_a_host_alone(value: str):
    with pytest.raises(ValidationError, match="not an origin"):
        Settings(cors_origins=value)


def test_every_origin_may_call_a_gateway_with_tokens_only(tmp_path):
    with pytest.raises(ValidationError, match="token_file"):
        Settings(cors_origins="*")
    tokens = tmp_path / "tokens"
    tokens.touch()
    assert Settings(cors_origins="*", token_file=str(tokens)).allowed_origins == ["*"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/../../etc/passwd", "/%2e%2e/etc/passwd", "//clipserve", "/clipserve.v1"]
)
async def test_other_paths_are_not_found(api: Api, path: str):
    answer = await api.http.post(path, json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "unimplemented")


async def test_a_host_header_is_never_repeated(start: Start):
    api = await start(host="0.0.0.0")
    plain = await api.call("ClipService/GetServerInfo")
    odd = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    assert (await api.call("ClipService/GetServerInfo", headers=odd)).json() == plain.json()
    missing = await api.http.post("/nothing", headers=odd)
    assert "evil" not in missing.text
    assert "evil" not in str(missing.headers)


@pytest.mark.parametrize(
    "path", ["/v1%2Fembeddings", "/v1%2fmodels", "/clipserve.v1.ClipService%2FEmbed", "/%2Fdocs"]
)
async def test_an_encoded_slash_is_no_slash(api: Api, path: str):
    answer = await api.http.get(path)
    assert answer.status_code == 404
    assert "no page" in answer.json()["message"]
