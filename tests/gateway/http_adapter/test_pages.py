from __future__ import annotations

import gzip
import re

import pytest
from clipserve_gateway.http_adapter import pages
from clipserve_gateway.http_adapter.static_files import TEXTS
from clipserve_gateway.settings import Settings
from starlette.applications import Starlette
from starlette.testclient import TestClient

FIRST_LOAD_BYTES = 50_000
FIRST_LOAD = re.compile(r'(?:src|href)="(/web/[^"]+)"')


@pytest.fixture(scope="module")
def client():
    return TestClient(Starlette(routes=pages.routes(Settings(web=True))))


@pytest.fixture(scope="module")
def first_load(client) -> list[str]:
    """Paths of everything that a browser fetches to show the page."""
    return ["/", *dict.fromkeys(FIRST_LOAD.findall(client.get("/").text))]


def test_the_page_and_all_that_it_links_are_there(client, first_load):
    assert len(first_load) > 8
    kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".webp": "image/webp"}
    for path in first_load[1:]:
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(kinds["." + path.rpartition(".")[2]])
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"


def test_every_module_finds_those_that_it_imports(client, first_load):
    base = first_load[1].rpartition("/")[0]
    seen, todo = set(), ["app.js"]
    while todo:
        name = todo.pop()
        response = client.get(f"{base}/{name}")
        assert response.status_code == 200, name
        seen.add(name)
        # Types in comments are for editors alone.
        code = re.sub(r"/\*.*?\*/", "", response.text, flags=re.DOTALL)
        todo += set(re.findall(r'(?:from|import\() ?"\./([^"]+)"', code)) - seen
    assert seen == {path.name for path in pages.FOLDER.glob("*.js")}


def test_the_first_load_is_small(client, first_load):
    def sent(path: str) -> int:
        with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as response:
            return sum(map(len, response.iter_raw()))

    assert 10_000 < sum(map(sent, first_load)) < FIRST_LOAD_BYTES


def test_what_names_its_version_never_changes_and_the_page_is_asked_for_each_time(client, first_load):
    assert client.get("/").headers["cache-control"] == "no-cache"
    for path in first_load[1:]:
        assert "immutable" in client.get(path).headers["cache-control"]


def test_any_change_of_a_file_changes_the_version(tmp_path):
    def version() -> str:
        return next(path for path in pages.files(tmp_path) if path != "/").split("/")[2]

    (tmp_path / "index.html").write_text('<script src="{web}/a.js">')
    (tmp_path / "a.js").write_text("1")
    first = version()
    assert first.encode() in pages.files(tmp_path)["/"].content
    assert version() == first
    (tmp_path / "a.js").write_text("2")
    assert version() != first


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_known_tag_is_answered_without_the_content(client, first_load, coding):
    for path in ("/", first_load[1]):
        tag = client.get(path, headers={"accept-encoding": coding}).headers["etag"]
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = client.get(path, headers={"accept-encoding": coding, "if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        changed = client.get(path, headers={"accept-encoding": coding, "if-none-match": '"other"'})
        assert changed.status_code == 200


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("br, GZIP;q=0.8", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("br", None),
        ("", None),
        ("not-gzip", None),
    ],
)
def test_texts_are_compressed_for_those_that_take_it(client, accepted, coding):
    response = client.get("/", headers={"accept-encoding": accepted})
    assert response.headers.get("content-encoding") == coding
    assert response.headers["vary"] == "accept-encoding"
    assert response.text == pages.files()["/"].content.decode()


def test_pictures_are_sent_as_they_are(client, first_load):
    picture = next(path for path in first_load if path.endswith(".webp"))
    response = client.get(picture, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in response.headers
    assert response.content == (pages.FOLDER / "examples" / picture.rpartition("/")[2]).read_bytes()


@pytest.mark.parametrize("path", ["/", "/web/nothing"])
def test_every_answer_has_the_headers_of_security(client, path):
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob:"
    assert not re.search("unsafe|http|data:", headers["content-security-policy"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_has_no_code_and_no_style_of_its_own_and_names_no_other_site():
    for path in pages.served(pages.FOLDER):
        if path.suffix not in TEXTS:
            continue
        text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|//[a-z]+\.", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), (
            path.name
        )
        assert not re.search(r"localStorage|sessionStorage|\.cookie|indexedDB", text), path.name
        if path.suffix == ".html":
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>|javascript:", text)


@pytest.mark.parametrize(
    "path",
    [
        "/web/",
        "/web/index.html",
        "/web/0000000000000000/app.js",
        "/web/{version}/",
        "/web/{version}/nothing.js",
        "/web/{version}/types.d.ts",
        "/web/{version}/examples/SOURCES.txt",
        "/web/{version}/../../pages.py",
        "/web/{version}/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/web/{version}/%2e%2e/%2e%2e/demo_texts.npz",
        "/web/{version}/..\\..\\settings.py",
        "/web/{version}//etc/passwd",
        "/web/{version}/app.js%00.css",
        "/web/{version}/app.js/",
    ],
)
def test_no_other_path_leads_to_a_file(client, first_load, path):
    response = client.get(path.replace("{version}", first_load[1].split("/")[2]))
    assert response.status_code == 404
    assert len(response.content) < 100


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_page_is_only_read(client, method):
    assert client.request(method, "/").status_code == 405


def test_head_tells_the_size_without_the_content(client):
    response = client.head("/", headers={"accept-encoding": "gzip"})
    assert response.content == b""
    sent = gzip.compress(pages.files()["/"].content, 9, mtime=0)
    assert int(response.headers["content-length"]) == len(sent)


def test_without_the_setting_there_is_no_page():
    assert pages.routes(Settings()) == []
