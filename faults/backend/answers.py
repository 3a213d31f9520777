"""What the delay model answers: whole numbers that the input alone decides, so that every byte is known.

Sums of whole numbers are exact in float32 whatever the batch, so two right answers are equal to the bit.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

DIM = 64
SIDE = 32
"""Of the square pictures, in pixels."""
VOCABULARY = 49408
PADDING = 0

Floats = npt.NDArray[np.float32]


def of_images(pixels: npt.NDArray[np.uint8], seed: int) -> Floats:
    """uint8 [b, SIDE, SIDE, 3] → float32 [b, DIM]: sums over stripes, mixed as the seed says."""
    stripes = pixels.reshape(len(pixels), DIM, -1)
    sums = 2 * stripes.sum(axis=2, dtype=np.int64) - 255 * stripes.shape[2]
    order, signs = mixing(seed)
    return (sums[:, order] * signs).astype(np.float32)


def of_texts(ids: npt.NDArray[np.int32], seed: int) -> Floats:
    """int32 [b, L] → float32 [b, DIM]: sums over the tokens' own vectors; padding counts nothing."""
    return token_vectors(seed)[ids].sum(axis=1, dtype=np.int64).astype(np.float32)


@functools.lru_cache(maxsize=4)
def mixing(seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """An order of the numbers, and their signs."""
    chance = np.random.default_rng(seed)
    return chance.permutation(DIM), chance.choice(np.array([-1, 1]), DIM)


@functools.lru_cache(maxsize=4)
def token_vectors(seed: int) -> npt.NDArray[np.int16]:
    """int16 [VOCABULARY, DIM]."""
    vectors = np.random.default_rng(seed).integers(-1000, 1000, (VOCABULARY, DIM), dtype=np.int16)
    vectors[PADDING] = 0
    return vectors
