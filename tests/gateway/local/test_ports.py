"""Free ports, and who holds one that is taken."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clipserve_gateway.local.command import TritonPorts
from clipserve_gateway.local.ports import EPHEMERAL, PortInUse, free_ports, port_range
from clipserve_gateway.local.up import choose_ports, option_of
from clipserve_gateway.process import listeners
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings

from testing.fakes import FakeBackend

LOW, HIGH = (int(word) for word in EPHEMERAL.read_text().split())
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:0 0  0  0 {inode} 1\n"


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def taken(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port that this process listens on."""
    try:
        listener = socket.socket(request.param)
        listener.bind(("127.0.0.1" if request.param == socket.AF_INET else "::", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        listener.listen()
        yield listener.getsockname()[1]


def test_free_ports_are_such_that_no_outgoing_connection_gets() -> None:
    ports = free_ports(*[0] * 50)
    assert len(set(ports)) == 50
    assert not [port for port in ports if LOW <= port <= HIGH]


@pytest.mark.parametrize(
    ("range_", "chosen"),
    [
        ("32768\t60999\n", (15_000, 32_767)),
        ("1024 60999", (61_000, 65_535)),
        ("15500 64000", (64_001, 65_535)),
        ("no numbers", (15_000, 32_767)),
    ],
)
def test_ports_are_chosen_below_the_kernels_range_or_above_it(
    tmp_path: Path, range_: str, chosen: tuple[int, int]
) -> None:
    (tmp_path / "range").write_text(range_)
    assert port_range(tmp_path / "range") == chosen


def test_where_the_kernel_takes_every_port_one_of_its_own_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text("1024 65535")
    monkeypatch.setattr("clipserve_gateway.local.ports.EPHEMERAL", tmp_path / "range")
    assert all(free_ports(0, 0))


def test_a_given_port_is_kept_and_is_not_chosen_for_another() -> None:
    [given] = free_ports(0)
    first, second = free_ports(0, given)
    assert second == given != first


def test_a_taken_port_is_named_with_its_holder_and_the_option_to_change(taken: int) -> None:
    with pytest.raises(PortInUse) as refused:
        free_ports(0, taken, options=["--first", "--second"])
    assert re.fullmatch(
        rf"port {taken} is taken by pid {os.getpid()} \(.+\); stop that, or choose another port with --second"
        r" \(0 takes a free one; of `make serve`: ARGS='--second 0'\)",
        str(refused.value),
    )


def test_all_taken_ports_are_told_at_once(taken: int, tmp_path: Path) -> None:
    with socket.socket() as other, socket.socket() as third:
        for it in (other, third):
            it.bind(("127.0.0.1", 0))
            it.listen()
        second, own = other.getsockname()[1], third.getsockname()[1]
        settings = Settings(data=str(tmp_path), port=0, http_port=own)
        with pytest.raises(PortInUse) as refused:
            choose_ports([TritonPorts(taken, 0, second)], settings)
    lines = str(refused.value).splitlines()
    assert [line.partition(" is taken by")[0] for line in lines] == [
        f"Triton's port {taken}",
        f"Triton's port {second}",
        f"port {own}",
    ]
    options = [re.search(r"with (--\S+)", line) for line in lines]
    assert [it and it[1] for it in options] == ["--triton-port", "--triton-metrics-port", "--http-port"]


async def test_both_ports_of_a_gateway_are_told_at_once(taken: int, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings(data=str(tmp_path), port=taken, http_port=other.getsockname()[1])
        gateway = Gateway(settings, FakeBackend())
        with pytest.raises(PortTaken, match=r"(?s)port \d+ is taken.* --port .*\nport \d+ .* --http-port "):
            await gateway.start()
        await gateway.stop(drain_seconds=0, grace_seconds=0)


def test_the_holder_is_the_process_that_listens_and_not_one_that_is_connected(taken: int) -> None:
    code = (
        f"import socket, sys; it = socket.create_connection(('127.0.0.1', {taken})); print(1, flush=True); \
sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"1\n"
        assert listeners.holder(taken).startswith(f"pid {os.getpid()} (")
        client.communicate()


@pytest.mark.parametrize("option", ["--port", "--http-port"])
async def test_the_gateway_names_the_holder_of_its_own_ports_alike(
    tmp_path: Path, taken: int, option: str
) -> None:
    ports = {"port": 0, "http_port": 0} | {option.removeprefix("--").replace("-", "_"): taken}
    gateway = Gateway(Settings(data=str(tmp_path), **ports), FakeBackend())
    sentence = rf"^port {taken} is taken by pid {os.getpid()} \(.+\); stop that, or .* with {option} "
    with pytest.raises(PortTaken, match=sentence):
        await gateway.start()
    await gateway.stop(drain_seconds=0, grace_seconds=0)


def test_a_port_that_was_given_keeps_its_option_and_one_that_was_chosen_has_none() -> None:
    wanted = [TritonPorts(8701, 8700, 0), TritonPorts(0, 0, 0)]
    assert option_of(wanted, 8701) == "--triton-port"
    assert option_of(wanted, 8700) == "--triton-http-port"
    assert option_of(wanted, 20_000) == ""


def test_each_triton_gets_three_ports_and_keeps_those_that_were_given() -> None:
    [given] = free_ports(0)
    first, second = choose_ports([TritonPorts(0, given, 0), TritonPorts(0, 0, 0)], Settings())
    assert first.http == given
    assert len({first.grpc, first.http, first.metrics, second.grpc, second.http, second.metrics}) == 6


def proc(folder: Path, *, table: str = "tcp", state: str = "0A") -> Path:
    """A /proc in which somebody's socket 77 has port 8701."""
    (folder / "net").mkdir()
    line = LINE.format(address="0100007F", port=8701, state=state, inode=77)
    (folder / "net" / table).write_text(HEADER + line)
    return folder


def test_a_process_of_another_user_is_told_as_such(tmp_path: Path) -> None:
    assert listeners.holder(8701, proc(tmp_path)) == "another user's process"
    assert listeners.listens(8701, tmp_path)


def process(folder: Path, pid: int, command: str, parent: int = 1) -> Path:
    """Adds a process, whose command's words are apart by spaces, to a /proc."""
    (folder / str(pid) / "fd").mkdir(parents=True)
    (folder / str(pid) / "cmdline").write_text(command.replace(" ", "\0") + "\0")
    (folder / str(pid) / "stat").write_text(f"{pid} (a name) S {parent} 0 0")
    return folder / str(pid)


def test_a_machine_without_ipv6_or_ipv4_tables_is_read_all_the_same(tmp_path: Path) -> None:
    folder = proc(tmp_path, table="tcp6")
    (process(folder, 12, "/usr/sbin/nginx -g daemon") / "fd" / "3").symlink_to("socket:[77]")
    assert listeners.holder(8701, folder) == "pid 12 (nginx)"


def test_a_script_is_named_and_not_its_interpreter(tmp_path: Path) -> None:
    folder = proc(tmp_path)
    command = "/x/.venv/bin/python3.11 /x/.venv/bin/clipserve-gateway up --port 8600"
    (process(folder, 12, command) / "fd" / "3").symlink_to("socket:[77]")
    assert listeners.holder(8701, folder) == "pid 12 (clipserve-gateway up)"


def test_of_a_triton_the_process_that_started_it_is_named(tmp_path: Path) -> None:
    folder = proc(tmp_path)
    process(folder, 11, "/x/bin/python3 /x/bin/clipserve-gateway up")
    (process(folder, 12, "/x/bin/tritonserver --grpc-port=8701", 11) / "fd" / "3").symlink_to("socket:[77]")
    assert listeners.holder(8701, folder) == (
        "pid 12 (tritonserver), which pid 11 (clipserve-gateway up) has started"
    )


def test_a_port_that_is_only_connected_has_no_holder(tmp_path: Path) -> None:
    folder = proc(tmp_path, state="01")
    assert not listeners.listens(8701, folder)
    assert "does not show" in listeners.holder(8701, folder)
