"""torch without CUDA comes from an index of its own, if that can be reached."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from bootstrap import torch_index
from bootstrap.torch_index import CPU_INDEX, pip_options, problem, wanted_index


@pytest.mark.parametrize(
    ("device", "environ", "expected"),
    [
        ("cpu", {}, CPU_INDEX),
        ("cuda", {}, ""),
        ("cpu", {"TORCH_INDEX": "http://mirror.example/cpu"}, "http://mirror.example/cpu"),
        ("cuda", {"TORCH_INDEX": "http://mirror.example/cu"}, "http://mirror.example/cu"),
        ("cpu", {"TORCH_INDEX": ""}, ""),
    ],
)
def test_the_index_is_chosen_by_device_and_variable(device, environ, expected):
    assert wanted_index(device, environ) == expected


@pytest.fixture
def index() -> Iterator[tuple[str, dict[str, int]]]:
    """A server that answers every path with the code it is told."""
    codes = {"code": 200}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(codes["code"])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/whl", codes
    server.shutdown()
    server.server_close()


def test_an_index_that_answers_is_used(index):
    address, _ = index
    assert problem(address) == ""
    assert pip_options(address) == ["--index-url", address]


def test_one_that_wants_a_password_is_left_to_pip(index):
    address, codes = index
    codes["code"] = 401
    assert problem(address) == ""


def test_one_without_torch_is_not_used(index):
    address, codes = index
    codes["code"] = 404
    assert "404" in problem(address)


def test_one_that_cannot_be_reached_says_why():
    assert problem("http://127.0.0.1:9/whl") != ""
    assert problem("ftp://mirror.example") != ""


@pytest.mark.parametrize("index", ["http://[::1", "http://a b/c", "http://h:x/", "nonsense", "http://"])
def test_nonsense_is_a_reason_and_no_crash(index):
    assert problem(index) != ""


def test_a_server_that_never_ends_its_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(torch_index, "REACH_SECONDS", 0.2)
    monkeypatch.setattr(torch_index, "ask", lambda _: time.sleep(2) or "")
    assert "no answer" in problem("http://slow.example/whl")


def test_a_folder_of_wheels_is_an_index_too(tmp_path):
    assert "no wheel of torch" in problem(str(tmp_path))
    (tmp_path / "torch-2.13.0-cp311-cp311-linux_x86_64.whl").touch()
    assert problem(str(tmp_path)) == ""
    assert pip_options(str(tmp_path)) == ["--no-index", "--find-links", str(tmp_path)]


def test_the_ordinary_index_needs_no_options():
    assert pip_options("") == []
