"""An S3 server on this machine, with one bucket, that honors conditional writes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

BUCKET = "clipserve"


@contextlib.contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment variables by which LanceDB finds it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_bucket(f"{endpoint}/{BUCKET}")
        yield {
            "AWS_ENDPOINT": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
    finally:
        server.kill()
        server.wait()


def wait_for_bucket(url: str) -> None:
    """Makes the bucket as soon as the server listens."""
    deadline = time.monotonic() + 30
    while not made(url):
        assert time.monotonic() < deadline, "the S3 server does not answer"
        time.sleep(0.05)


def made(url: str) -> bool:
    """Whether the server answered and made the bucket."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5).close()
    except OSError:
        return False
    return True
