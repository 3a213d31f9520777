"""The description and the page that shows it: whole, compressed, with a tag, and under a content policy."""

from __future__ import annotations

import gzip
import re
from typing import Any

from clipserve_gateway.http_adapter.openapi.routes import FOLDER

from tests.gateway.http_adapter.conftest import Api, Start


async def test_the_description_is_json(api: Api, described: dict[str, Any]) -> None:
    answer = await api.http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == described


async def test_the_page_loads_only_files_that_are_served(api: Api) -> None:
    page = await api.http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:src|href)="(.*?)"', page.text)
    assert "docs/swagger-ui-bundle.js" in links
    for link in links:
        if not link.startswith("data:"):
            answer = await api.http.get(f"/{link}")
            assert answer.status_code == 200, link
            assert answer.headers["content-type"].partition(";")[0] in ("text/javascript", "text/css")


async def test_the_policy_allows_this_origin_only(api: Api) -> None:
    policy = (await api.http.get("/docs")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    sources = {word for directive in policy.split("; ") for word in directive.split()[1:]}
    assert sources == {"'none'", "'self'", "data:"}


async def test_a_client_without_gzip_gets_the_same_content(api: Api) -> None:
    path = "/docs/swagger-ui.css"
    compressed = await api.http.get(path, headers={"accept-encoding": "gzip"})
    plain = await api.http.get(path, headers={"accept-encoding": "gzip;q=0"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    stored = gzip.decompress((FOLDER / "swagger-ui.css.gz").read_bytes())
    assert plain.content == compressed.content == stored
    assert plain.headers["etag"] != compressed.headers["etag"]


async def test_a_client_that_has_the_file_gets_no_content(api: Api) -> None:
    tag = (await api.http.get("/docs")).headers["etag"]
    again = await api.http.get("/docs", headers={"if-none-match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert (await api.http.get("/docs", headers={"if-none-match": '"other"'})).status_code == 200


async def test_only_the_files_of_the_page_are_served(api: Api) -> None:
    for path in (
        "/docs/LICENSE-swagger-ui.txt",
        "/docs/swagger-ui.css.gz",
        "/docs/../cli.py",
        "/docs/%2e%2e/cli.py",
    ):
        assert (await api.http.get(path)).status_code == 404, path
    assert (await api.http.post("/docs")).status_code == 405


async def test_the_switch_of_reflection_turns_both_off(start: Start) -> None:
    described, silent = await start(), await start(reflection=False)
    for path in ("/openapi.json", "/docs", "/docs/start.js"):
        assert (await described.http.get(path)).status_code == 200
        assert (await silent.http.get(path)).status_code == 404


async def test_both_need_no_token(start: Start) -> None:
    api = await start("alice methods=read")
    assert (await api.call("ClipService/GetServerInfo")).status_code == 401
    assert (await api.http.get("/docs")).status_code == 200
    answer = await api.http.get("/openapi.json")
    assert answer.json()["security"] == [{"token": []}]


async def test_no_redirect_leads_to_a_host_that_the_caller_names(start: Start) -> None:
    api = await start(host="0.0.0.0")
    answer = await api.http.get("/docs/", headers={"host": "other.example.com"})
    assert answer.status_code == 404
    assert "location" not in answer.headers
