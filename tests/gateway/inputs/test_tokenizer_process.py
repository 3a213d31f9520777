"""A tokenizer in its own process: answers like the tokenizer; its end harms only the call under way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clipserve_gateway.errors import InferenceFailed, ModelLoading, ModelUnavailable
from clipserve_gateway.inputs.huggingface_tokenizer import BadTokenizer
from clipserve_gateway.inputs.tokenizer_bundle import tokenizer_of
from clipserve_gateway.inputs.tokenizer_process import TokenizerProcess

from testing.golden_tokenizers import SPECS, packed

KIND = "siglip2"
TEXTS = ["a photo of a cat", "", "猫" * 300, "\ud83d\ude00 \0 \x1b", "é" * 20_000]


@pytest.fixture(scope="module")
def process() -> Iterator[TokenizerProcess]:
    """Has started."""
    process = TokenizerProcess(SPECS[KIND], packed(KIND))
    process.start()
    yield process
    process.close()


def pid_of(process: TokenizerProcess) -> int:
    assert process._process is not None
    return process._process.pid


def ids(process: TokenizerProcess, *texts: str) -> list[tuple[list[int], bool]]:
    return [(tokens.ids.tolist(), tokens.truncated) for tokens in process.encode(texts)]


def test_answers_are_those_of_the_tokenizer(process: TokenizerProcess) -> None:
    own = tokenizer_of(packed(KIND), SPECS[KIND])
    assert ids(process, *TEXTS) == [(row.ids.tolist(), row.truncated) for row in own.encode(TEXTS)]
    assert ids(process) == []


def test_many_threads_get_their_own_answers(process: TokenizerProcess) -> None:
    wanted = {text: ids(process, text) for text in map("photo {}".format, range(16))}
    got: dict[str, object] = {}
    threads = [threading.Thread(target=lambda t=text: got.update({t: ids(process, t)})) for text in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == wanted


def test_a_process_that_was_killed_is_started_again(process: TokenizerProcess) -> None:
    before = ids(process, "dog")
    first = pid_of(process)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert ids(process, "dog") == before
    assert pid_of(process) != first


def killed_soon(process: TokenizerProcess) -> None:
    """Stops the process, so that it answers nothing, and kills it."""
    os.kill(pid_of(process), signal.SIGSTOP)
    threading.Timer(0.1, os.kill, (pid_of(process), signal.SIGKILL)).start()


def test_a_call_whose_process_is_killed_is_tried_again(process: TokenizerProcess) -> None:
    before, first = ids(process, "dog"), pid_of(process)
    killed_soon(process)
    assert ids(process, "dog") == before
    assert pid_of(process) != first


def test_a_process_that_is_killed_twice_is_not_the_fault_of_the_text(
    process: TokenizerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, restart = ids(process, "dog"), process._restart

    def restart_and_kill() -> None:
        restart()
        killed_soon(process)

    with monkeypatch.context() as patch:
        patch.setattr(process, "_restart", restart_and_kill)
        killed_soon(process)
        with pytest.raises(ModelUnavailable, match="operating system ended the tokenizer") as failed:
            ids(process, "cat")
    assert failed.value.detail == "signal 9"
    assert ids(process, "dog") == before


def test_a_process_that_is_killed_while_it_loads_does_not_make_the_tokenizer_bad(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    popen = subprocess.Popen

    def killed(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started = popen(*args, **options)
        started.kill()
        return started

    process = TokenizerProcess(SPECS[KIND], packed(KIND))
    monkeypatch.setattr(subprocess, "Popen", killed)
    with pytest.raises(ModelUnavailable, match="operating system"):
        process.start()
    process.close()


def test_a_call_that_takes_too_long_ends_the_process(process: TokenizerProcess) -> None:
    before = ids(process, "dog")
    # The kernel sends this signal when the time of a message is over. A stopped process never answers.
    os.kill(pid_of(process), signal.SIGSTOP)
    threading.Timer(0.1, os.kill, (pid_of(process), signal.SIGALRM)).start()
    threading.Timer(0.2, os.kill, (pid_of(process), signal.SIGCONT)).start()
    with pytest.raises(InferenceFailed) as failed:
        ids(process, "cat")
    assert failed.value.detail == "it took too long"
    assert ids(process, "dog") == before


def test_an_error_of_the_tokenizer_is_that_of_the_call_and_the_process_stays(
    process: TokenizerProcess,
) -> None:
    before = pid_of(process)
    with pytest.raises(InferenceFailed) as failed:
        process.encode([None])  # type: ignore[list-item]
    assert "AttributeError" in failed.value.detail
    ids(process, "dog")
    assert pid_of(process) == before


def test_a_bad_bundle_is_refused_and_leaves_no_process() -> None:
    process = TokenizerProcess(SPECS["clipa"], packed(KIND))
    with pytest.raises(BadTokenizer, match="SHA-256"):
        process.start()
    with pytest.raises(ProcessLookupError):
        os.kill(pid_of(process), 0)


def test_a_closed_one_says_that_the_model_is_loading() -> None:
    process = TokenizerProcess(SPECS["clipa"], packed("clipa"))
    process.start()
    process.close()
    with pytest.raises(ModelLoading):
        process.encode(["dog"])


def test_memory_is_limited() -> None:
    code = (
        "from clipserve_gateway.inputs import tokenizer_worker\n"
        "tokenizer_worker.MAX_MEMORY = 100 << 20\n"
        "tokenizer_worker.limit_memory()\n"
        "some = bytearray(50 << 20)\n"
        "try:\n"
        "    more = bytearray(200 << 20)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from clipserve_gateway.inputs.tokenizer_process import TokenizerProcess\n"
        "from testing.golden_tokenizers import SPECS, packed\n"
        "process = TokenizerProcess(SPECS['clipa'], packed('clipa'))\n"
        "process.start()\n"
        "print(process._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    pid = int(done.stdout)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < end, "the process is still there"
        time.sleep(0.05)
