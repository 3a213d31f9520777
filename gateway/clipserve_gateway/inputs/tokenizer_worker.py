"""The process of one tokenizer: `python -m clipserve_gateway.inputs.tokenizer_worker SOCKET`.

Reads messages from its parent by the file descriptor SOCKET: first the specification and the bundle, then
lists of texts. Each answer is JSON. The process ends when the parent closes the socket, and when one message
takes too long or too much memory: the kernel ends it, whatever the library is doing.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from clipserve_gateway.inputs.huggingface_tokenizer import BadTokenizer, HuggingFaceTokenizer
from clipserve_gateway.inputs.tokenizer_bundle import tokenizer_of
from clipserve_gateway.types import TokenizerSpec

LOAD_SECONDS = 120
ENCODE_SECONDS = 30
"""For one message. A text of a megabyte takes up to 4 s."""
MAX_MEMORY = 4 << 30
"""Bytes. The largest known tokenizers take 1 GB while they are loaded."""


def main(connection: Connection) -> None:
    """Answers until the parent closes the connection."""
    limit_memory()
    spec = TokenizerSpec(**json.loads(connection.recv_bytes()))
    signal.alarm(LOAD_SECONDS)
    try:
        tokenizer = tokenizer_of(connection.recv_bytes(), spec)
    except (BadTokenizer, MemoryError) as error:
        answer(connection, {"refused": str(error) or "it takes too much memory"})
        return
    answer(connection, {"refused": ""})
    while True:
        texts = json.loads(connection.recv_bytes())
        signal.alarm(ENCODE_SECONDS)
        answer(connection, encoded(tokenizer, texts))


def limit_memory() -> None:
    """Refuses this process more than MAX_MEMORY beyond what the libraries have."""
    data = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data + MAX_MEMORY, data + MAX_MEMORY))


def encoded(tokenizer: HuggingFaceTokenizer, texts: list[str]) -> object:
    """Pairs of ids and whether the text was truncated, or the error."""
    try:
        return [(tokens.ids.tolist(), tokens.truncated) for tokens in tokenizer.encode(texts)]
    # A panic of the library is a BaseException.
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def answer(connection: Connection, content: object) -> None:
    """Sends an answer, and ends the time limit."""
    signal.alarm(0)
    connection.send_bytes(json.dumps(content).encode())


if __name__ == "__main__":
    try:
        main(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        # The parent has ended or needs this tokenizer no more.
        sys.exit(0)
