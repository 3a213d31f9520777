"""A tokenizer that came from Triton, in a process of its own.

The library holds the interpreter's lock for seconds while it reads a large file, in any thread: in the
gateway this would delay every call. A process also bounds time and memory, and gives all memory back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from clipserve_gateway.errors import InferenceFailed, ModelLoading, ModelUnavailable
from clipserve_gateway.inputs.huggingface_tokenizer import BadTokenizer
from clipserve_gateway.types import TokenizerSpec, Tokens

log = logging.getLogger(__name__)

EXIT_SECONDS = 1.0
"""Time for a process that has closed its connection to end by itself."""
KILLED = (
    "the operating system ended the tokenizer of this model, perhaps because memory ran out; try again in a "
    "few seconds"
)


class TokenizerProcess:
    """Implements Tokenizer. If the process has ended, the next call starts another one.

    Args:
        packed: the bundle; see tokenizer_bundle.
    """

    safe_bytes = 0

    def __init__(self, spec: TokenizerSpec, packed: bytes) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="tokenize")
        self._spec = spec
        self._packed = packed
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._closed = False

    def start(self) -> None:
        """Starts the process, which loads the tokenizer; takes seconds.

        Raises BadTokenizer, and ModelUnavailable if somebody kills the process meanwhile.
        """
        with self._lock:
            self._start()

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """See Tokenizer. Waits for the process.

        If somebody kills the process, mostly the kernel because memory ran out, the call is tried once more.
        """
        with self._lock:
            answer = self._encoded(texts)
            if answer is None and self._was_killed():
                log.warning("a tokenizer's process was killed, perhaps for lack of memory; it starts again")
                answer = self._encoded(texts)
            killed = answer is None and self._was_killed()
            failure = self._last_words() if answer is None else ""
        if killed:
            raise ModelUnavailable(KILLED, detail=failure)
        if isinstance(answer, dict):
            failure = str(answer["error"])
        if failure:
            raise InferenceFailed("the tokenizer failed at this text", detail=failure)
        return [Tokens(np.array(ids, np.int32), truncated) for ids, truncated in answer]

    def _encoded(self, texts: Sequence[str]) -> Any:
        """The answer of the process, which is started if it does not run; None if it ends."""
        if self._process is None or self._process.poll() is not None:
            self._restart()
        return self._ask(json.dumps(texts).encode())

    def _was_killed(self) -> bool:
        """Whether the process was ended from outside, and not by what it was doing."""
        return self._process is not None and self._process.returncode == -signal.SIGKILL

    def close(self) -> None:
        """Ends the process; later calls raise ModelLoading."""
        self._closed = True
        if self._process is not None:
            # A call under way gets an error at once.
            self._process.kill()
        with self._lock:
            self._end()
        self.executor.shutdown(wait=False)

    def _restart(self) -> None:
        if self._closed:
            raise ModelLoading("the tokenizer of this model is not loaded; try again in a few seconds")
        try:
            self._end()
            self._start()
        except BadTokenizer as error:
            raise ModelLoading("the tokenizer of this model is not loaded", detail=str(error)) from error

    def _start(self) -> None:
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "clipserve_gateway.inputs.tokenizer_worker", str(there.fileno())],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                # Ctrl+C ends the gateway, which closes the connection.
                start_new_session=True,
            )
        self._connection = Connection(here.detach())
        if self._closed:
            self._process.kill()
        answer = self._ask(json.dumps(dataclasses.asdict(self._spec)).encode(), self._packed)
        if answer is None and self._was_killed():
            raise ModelUnavailable(KILLED, detail=self._last_words())
        if answer is None:
            raise BadTokenizer(f"its process ended while it was loaded: {self._last_words()}")
        if answer["refused"]:
            self._end()
            raise BadTokenizer(answer["refused"])

    def _ask(self, *messages: bytes) -> Any:
        """The answer to messages; None if the process has ended."""
        assert self._process is not None, "started"
        assert self._connection is not None, "started"
        try:
            for message in messages:
                self._connection.send_bytes(message)
            return json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            # Its own end tells the reason; one that does not come is hastened.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_SECONDS)
            self._end()
            return None

    def _last_words(self) -> str:
        """How the process ended."""
        code = self._process.returncode if self._process is not None else None
        if code == -signal.SIGALRM:
            return "it took too long"
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
