"""The speed bench counts right, and shows what it counted."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import grpc
import pytest

from bench.speed import images, messages, photos, precisions, protocols
from bench.speed.__main__ import keep
from bench.speed.load import Done, Order, Senders, carry_out
from bench.speed.peers import Peer, signal_all
from bench.speed.plots import draw
from bench.speed.protocols_report import protocols as protocols_section
from bench.speed.report import markdown
from bench.speed.report import precisions as precisions_section
from bench.speed.scale import MINUTES, Bar
from bench.speed.turns import Turn, by_turns, ratio, turn_of, written
from bench.speed.watch import Watched, idle_shares

ROOT = Path(__file__).parents[2]


def test_a_rate_is_counted_from_batch_to_batch():
    """Sixteen answers each second, in one moment: not 16 · 5 / 4.5, wherever the turn ends."""
    ends = [float(second) for second in range(1, 6) for _ in range(16)]
    done = Done(due=[end - 1 for end in ends], end=ends)
    assert turn_of(done, 4.5, 1).rate == pytest.approx(16)
    assert turn_of(done, 4.5, 4).rate == pytest.approx(64)
    assert turn_of(done, 4.5, 1).p50 == pytest.approx(1000)


def test_times_count_from_when_a_call_was_due():
    done = Done(due=[0.0, 1.0, 2.0, 3.0], end=[1.0, 2.5, 3.5, 4.5])
    assert turn_of(done, 5, 1).p50 == pytest.approx(1500)


def test_an_answer_after_the_turn_counts_with_its_time_but_not_for_the_rate():
    done = Done(due=[0.0, 1.0, 2.0, 3.0], end=[1.0, 2.0, 3.0, 33.0])
    found = turn_of(done, 4, 1)
    assert (found.rate, found.p50, found.p99 > 25_000) == (1.0, 1000, True)


def test_who_answers_nothing_has_no_rate():
    assert turn_of(Done(failures={"UNAVAILABLE": 3}), 5, 1) == Turn(0.0, failures={"UNAVAILABLE": 3})


def test_systems_take_turns_and_ratios_are_those_of_rounds():
    order = []

    def system(name: str, rates: list[float]):
        def run() -> Turn:
            order.append(name)
            return Turn(rates[order.count(name) - 1])

        return run

    turns = by_turns({"a": system("a", [1, 20, 3]), "b": system("b", [2, 40, 5])}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert ratio(turns["a"], turns["b"]) == 0.5


def test_a_system_whose_calls_fail_is_not_compared():
    with pytest.raises(click.ClickException, match="b: calls failed"):
        by_turns({"a": lambda: Turn(1.0), "b": lambda: Turn(9.0, failures={"UNAVAILABLE": 1})}, 2)


def test_the_ceiling_is_the_way_whose_better_look_is_fastest():
    looks = iter([1.0, *[5.0, 9.0, 6.0, 5.0, 5.0, 5.0], *[5.0, 2.0, 9.5, 5.0, 5.0, 5.0]])

    class Worker:
        def ask(self, order: dict) -> dict:
            return {"layouts": ["one", "two"]} if order["do"] == "layouts" else {"rate": next(looks)}

    found = images.ceilings(Worker(), MINUTES)
    assert found[:2] == [
        {"batch": 16, "layout": "one", "rate": 9.5},
        {"batch": 8, "layout": "two", "rate": 9.0},
    ]
    assert [way["rate"] for way in found[2:]] == [5.0] * 4


def test_a_peer_runs_only_while_it_is_awake():
    child = "import os; print(os.getpid(), flush=True); input()"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pids = [process.pid, int(process.stdout.readline())]
        peer = Peer("peer", process.pid, "", bytes, same_weights=False)
        try:
            with peer.awake():
                assert not any(map(stopped, pids))
            end = time.monotonic() + 30
            while not all(map(stopped, pids)):
                assert time.monotonic() < end
                time.sleep(0.01)
            with peer.awake():
                assert not any(map(stopped, pids))
                process.communicate(b"\n", timeout=30)
        finally:
            signal_all(process.pid, signal.SIGCONT)
            process.kill()
    assert process.returncode == 0


def stopped(pid: int) -> bool:
    """Whether a process sleeps until a signal lets it go on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize(
    ("value", "most", "kept"), [(1.0, True, True), (1.1, True, False), (0.9, False, False)]
)
def test_bars_hold_or_not(value, most, kept):
    assert Bar("", value, 1.0, most).kept is kept


def test_photographs_differ_and_have_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "BUILD", tmp_path)
    found = photos.photographs(4, 80, 60)
    assert len(set(found)) == 4
    assert {photos.Image.open(file).size for file in photos.folder_of(80, 60).glob("*.jpg")} == {(80, 60)}


@pytest.fixture
def echo():
    """A server that gives back what it gets, and fails for `bad`."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"bad":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad")
        return request

    server = grpc.server(ThreadPoolExecutor(4))
    handler = grpc.method_handlers_generic_handler(
        "Echo", {"Say": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


def test_the_load_process_sends_what_it_is_given(echo, tmp_path):
    file = tmp_path / "requests"
    file.write_bytes(pickle.dumps([b"one", b"bad"]))
    orders = [
        Order(echo, "/Echo/Say", str(file), seconds=0.3, callers=2),
        Order(echo, "/Echo/Say", str(file), seconds=0.5, rate=40),
    ]
    lines = "".join(json.dumps(asdict(order)) + "\n" for order in orders)
    command = [sys.executable, "-m", "bench.speed.load"]
    output = subprocess.run(
        command, input=lines, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    closed, open_ = (Done(**json.loads(line)) for line in output.stdout.splitlines())
    assert closed.failures["INVALID_ARGUMENT"] == pytest.approx(len(closed.end), abs=2)
    assert (len(open_.end), open_.failures) == (10, {"INVALID_ARGUMENT": 10})
    assert open_.answer_bytes == 3


class Server(ThreadingHTTPServer):
    """Answers nobody before so many callers wait at once; with as many bytes."""

    request_queue_size = 64

    def __init__(self, callers: int) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.callers, self.arrived, self.enough = callers, itertools.count(1), threading.Event()


class Answering(BaseHTTPRequestHandler):
    """A connection to it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if next(self.server.arrived) == self.server.callers:
            self.server.enough.set()
        self.send_response(200 if self.server.enough.wait(10) else 503)
        self.send_header("Content-Length", str(self.server.callers))
        self.end_headers()
        self.wfile.write(b"x" * self.server.callers)

    def log_message(self, *_: object) -> None:
        pass


async def test_http_servers_get_all_callers_at_once_and_nobody_elses_calls():
    senders = Senders()
    with contextlib.ExitStack() as held:
        servers = [held.enter_context(Server(callers)) for callers in (40, 7)]
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            held.callback(server.shutdown)
        for server in servers * 2:
            url = f"http://127.0.0.1:{server.server_port}/"
            order = Order(url, "", "", seconds=1, callers=server.callers)
            done = await carry_out(order, [b"one"], senders.to(order))
            assert (done.failures, done.answer_bytes) == ({}, server.callers)


def test_a_suites_results_take_the_place_of_its_earlier_ones_and_leave_the_others(tmp_path):
    runs = json.loads((ROOT / "bench" / "results" / "speed.json").read_text())
    for suite, value in (("search", 1.0), ("labels", 2.0), ("search", 3.0)):
        keep(suite, dict(runs[suite]), [Bar(suite, value, 1.0)], tmp_path)
    found = json.loads((tmp_path / "speed.json").read_text())
    assert {suite: run["bars"][0]["value"] for suite, run in found.items()} == {"search": 3.0, "labels": 2.0}
    assert {suite: run["facts"] for suite, run in found.items()} == {
        suite: runs[suite]["facts"] for suite in found
    }


def test_what_an_idle_gateway_takes_is_shown_apart():
    runs = json.loads((ROOT / "bench" / "results" / "speed.json").read_text())
    facts = runs["images"]["facts"][0]
    ours = next(point for point in facts["offered"] if point["system"] == "clipserve")
    ours |= {"rate": 20.0, "cpu_ms": {"gateway": 10.0, "decoding": 3.0}}
    facts["idle"] = {"gateway": 0.01, "Triton": 0.002, "model": 0.0, "load": 0.0}
    shown = markdown(runs)
    assert "While nobody calls, of one core: gateway 1.00%, Triton 0.20%." in shown
    assert "| 6.50 |" in shown, "a hundredth of a core is half a millisecond of each of 20 pictures a second"
    assert images.idle_bar("demo", facts["idle"]).kept
    assert not images.idle_bar("demo", {"gateway": 0.02}).kept


def test_bf16_is_compared_with_fp32_with_the_ceilings_and_with_peers():
    rates = {"ceiling, fp32": 10, "clipserve, fp32": 8, "ceiling, bf16": 40, "clipserve, bf16": 30}
    rates |= {"infinity": 6, precisions.BLOG: 5}
    pictures = {name: [Turn(rate)] for name, rate in rates.items()}
    assert [(bar.value, bar.kept) for bar in precisions.bars("m", 0.9999, pictures)] == [
        (0.9999, True),
        (5.0, True),
        (6.0, True),
    ]
    facts = {"model": "m", "reason": "this processor has AMX", "agreement": 0.99995}
    facts |= {"pictures": written(pictures)}
    facts |= {"texts": {"short": written({"fp32": [Turn(50.0)], "bf16": [Turn(75.0)]})}}
    shown = precisions_section(facts)
    assert "`--precision auto` takes bf16: this processor has AMX." in shown
    assert "| clipserve, bf16 | 30.0 (30.0–30.0) | 3.75 | – |" in shown
    assert "| short | 50.0 (50.0–50.0) | 75.0 (75.0–75.0) | 1.50 |" in shown


def test_protocols_are_compared_with_grpc():
    def turns(rate: float, ms: float) -> Turn:
        return Turn(rate, p50=ms, cpu_ms={"gateway": ms / 2, "load": ms / 4})

    texts = written({"gRPC": [turns(100.0, 4.0)], "OpenAI, float": [turns(50.0, 8.0)]})
    unused = written({"no API port": [turns(100.0, 4.0)], "an API port without calls": [turns(98.0, 4.0)]})
    shown = protocols_section({"model": "m", "callers": 8, "turns": {"one text": texts}, "unused": unused})
    assert "| OpenAI, float | 50 (50–50) | 0.50 | 8.0 (8.0–8.0) | 4.00 | 2.00 |" in shown
    assert "| an API port without calls | 98 (98–98) | 0.98 | 4.0 (4.0–4.0) | 2.00 |" in shown


def test_each_protocol_gets_the_same_inputs():
    calls = messages.embed_texts(["a", "b", "c", "d"], 2)
    found = protocols.by_protocol(calls, functools.partial(messages.openai_texts, "m", list("abcd"), items=2))
    assert len({len(requests) for requests in found.values()}) == 1
    asked = [json.loads(request) for request in found["OpenAI, base64"]]
    assert asked == [
        {"model": "m", "encoding_format": "base64", "input": group} for group in (["a", "b"], ["c", "d"])
    ]
    assert json.loads(found["Embed as JSON"][1]) == {"inputs": [{"text": "c"}, {"text": "d"}]}


def test_a_processor_without_bf16_has_nothing_to_compare(monkeypatch, tmp_path):
    monkeypatch.setattr(precisions, "processor_flags", frozenset)
    assert precisions.suite("m", MINUTES, None, tmp_path) == (None, [])


def test_idle_cost_is_that_of_the_process():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        found = idle_shares(Watched({"gateway": [busy.pid]}), settle=0.0, seconds=0.3)
        busy.kill()
    assert found["gateway"] > 0.05


def test_results_are_shown_and_drawn(tmp_path):
    runs = json.loads((ROOT / "bench" / "results" / "speed.json").read_text())
    assert markdown(runs) == (ROOT / "bench" / "results" / "speed.md").read_text()
    files = draw({suite: run["facts"] for suite, run in runs.items()}, tmp_path)
    assert [file.suffix for file in files] == [".svg"] * len(files)
    assert all(file.stat().st_size > 10_000 for file in files)
