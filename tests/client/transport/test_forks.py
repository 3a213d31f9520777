"""Forks of a process with a client: children can use the client, or get an error immediately."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from testing.gateway_process import gateway_process

PREPARE = """
import os, sys, threading, time
import clipserve
from clipserve.transport import forks

def in_child(act):
    # Exit code of the child: 0 if its call succeeded, 3 if it got ClientNotUsable.
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        act()
    except clipserve.ClientNotUsable as error:
        os._exit(3 if error.reason == "CLIENT_FORKED" else 4)
    os._exit(0)
"""


def run(script: str, *arguments: str, **environment: str) -> str:
    """Runs a script in another process, because this one must not be forked. Returns its output."""
    # Without a buffer, which a child would print again.
    command = [sys.executable, "-u", "-c", PREPARE + textwrap.dedent(script), *arguments]
    env = os.environ | {"PYTHONPATH": ":".join(sys.path)} | environment
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_fork_waits_until_the_calls_of_other_threads_have_ended() -> None:
    printed = run("""
        began, may_end = threading.Event(), threading.Event()

        def call():
            with forks.in_call():
                began.set()
                may_end.wait()
                ended.append("call")

        ended = []
        thread = threading.Thread(target=call)
        thread.start()
        began.wait()
        threading.Timer(0.1, may_end.set).start()
        print(in_child(forks.check), ended)
        """)
    assert printed == "0 ['call']"


def test_a_call_waits_until_a_fork_is_done() -> None:
    printed = run("""
        forks._before()
        entered = threading.Event()

        def call():
            with forks.in_call():
                entered.set()

        threading.Thread(target=call).start()
        print(entered.wait(0.1))
        forks._after_in_parent()
        print(entered.wait(10))
        """)
    assert printed.split() == ["False", "True"]


def test_a_child_of_a_process_whose_call_does_not_end_is_told_so() -> None:
    printed = run("""
        forks.FORK_SECONDS = 0.05
        began, may_end = threading.Event(), threading.Event()

        def call():
            with forks.in_call():
                began.set()
                may_end.wait()

        thread = threading.Thread(target=call)
        thread.start()
        began.wait()
        print(in_child(forks.check), in_child(lambda: clipserve.Client("localhost:1")))
        print(in_child(lambda: sys.exit(in_child(forks.check))))
        may_end.set()
        thread.join()
        print(in_child(forks.check))
        """)
    assert printed.splitlines() == ["3 3", "3", "0"]


def test_a_fork_inside_a_call_of_the_same_thread_does_not_wait_for_it() -> None:
    printed = run("""
        began = time.monotonic()
        with forks.in_call():
            code = in_child(forks.check)
        print(code, time.monotonic() - began < forks.FORK_SECONDS)
        """)
    assert printed == "3 True"


def test_a_fork_does_not_wait_for_a_stream_and_its_child_is_told_so() -> None:
    printed = run("""
        opened, may_end = threading.Event(), threading.Event()

        def stream():
            with forks.in_stream():
                opened.set()
                may_end.wait()

        thread = threading.Thread(target=stream)
        thread.start()
        opened.wait()
        began = time.monotonic()
        code = in_child(forks.check)
        print(code, time.monotonic() - began < forks.FORK_SECONDS)
        may_end.set()
        thread.join()
        print(in_child(forks.check))
        """)
    assert printed.split() == ["3", "True", "0"]


@pytest.mark.parametrize(("value", "code"), [("0", 3), ("false", 3), ("1", 0)])
def test_a_child_without_fork_support_is_told_so_where_a_client_was_made(value: str, code: int) -> None:
    script = """
        print(in_child(forks.check))
        client = clipserve.Client("localhost:1")
        print(in_child(forks.check))
        """
    assert run(script, GRPC_ENABLE_FORK_SUPPORT=value).split() == ["0", str(code)]


@pytest.mark.slow
def test_children_of_a_busy_process_use_its_client_and_their_own(tmp_path: Path) -> None:
    script = """
        client = clipserve.Client(sys.argv[1])
        stop = False

        def load(texts):
            while not stop:
                client.embed_texts(["x"] * texts)

        def act():
            client.embed_texts(["y"])
            clipserve.Client(sys.argv[1]).embed_texts(["z"] * 200)

        threads = [threading.Thread(target=load, args=(texts,)) for texts in (20, 20, 200)]
        for thread in threads:
            thread.start()
        print(*(in_child(act) for _ in range(20)))
        stop = True
        """
    with gateway_process(tmp_path) as gateway:
        assert run(script, f"127.0.0.1:{gateway.port}").split() == ["0"] * 20
