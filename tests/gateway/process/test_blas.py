"""Servers compute matrix products only on their own threads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json
from clipserve_gateway import cli, lifecycle
from threadpoolctl import threadpool_info
import numpy as np
async def serve(*_):
    np.ones((512, 512), np.float32) @ np.ones((512, 512), np.float32)
    print(json.dumps([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]))
    return 0
lifecycle.serve_until_signal = serve
cli.main(["serve"])
"""


@pytest.mark.parametrize("wanted", ["1", "8"])
def test_a_gateway_has_one_thread_for_products_whatever_the_machine(wanted):
    environment = {"OPENBLAS_NUM_THREADS": wanted, "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    threads = json.loads(done.stdout)
    assert threads, "numpy's BLAS is loaded"
    assert set(threads) == {1}
