"""Keeps matrix products on the calling thread."""

from __future__ import annotations

import numpy as np  # noqa: F401  (its BLAS must be loaded to be limited)
from threadpoolctl import threadpool_limits


def use_one_blas_thread() -> None:
    """Keeps numpy's BLAS from using its own threads, in the whole process and permanently.

    After a product, these threads wait for the next one in a busy loop, on cores that Triton and decoding
    need. The product of an image and 1,000 labels takes 0.1 ms, but with these threads the encoder on the
    same two cores lost a third of its speed.
    """
    threadpool_limits(1, user_api="blas")
