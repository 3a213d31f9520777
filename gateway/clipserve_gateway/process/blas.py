"""Matrix products on the thread that asks for them."""

from __future__ import annotations

import numpy as np  # noqa: F401  (its BLAS must be there to be limited)
from threadpoolctl import threadpool_limits


def use_one_blas_thread() -> None:
    """Keeps numpy's BLAS from using threads of its own, in the whole process and for good.

    After a product, those wait for the next one in a loop, on cores that Triton and decoding could use: one
    picture by 1,000 labels takes 0.1 ms, and cost the encoder on the same two cores a third of its speed.
    """
    threadpool_limits(1, user_api="blas")
