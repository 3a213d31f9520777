"""Deterministic embeddings without a model. Two models give different embeddings."""

from __future__ import annotations

import hashlib

import numpy as np
from clipserve.v1 import common_pb2
from PIL import Image

DIM = 16
LOGIT_SCALE = 20.0
CONTEXT_WORDS = 75
MODEL = common_pb2.ModelRef(name="fake", fingerprint="f" * 64, embed_dim=DIM)
OTHER = common_pb2.ModelRef(name="other", fingerprint="0" * 64, embed_dim=DIM)


def embed_text(text: str) -> np.ndarray:
    """float32 [DIM]: the sum of one vector per word and a vector that all texts share."""
    total = np.full(DIM, 0.05)
    for word in text.lower().split()[:CONTEXT_WORDS]:
        seed = int.from_bytes(hashlib.sha256(word.strip(".,").encode()).digest()[:4], "little")
        total += np.random.default_rng(seed).normal(size=DIM)
    return total.astype(np.float32)


def embed_pixels(image: Image.Image) -> np.ndarray:
    """float32 [DIM]: a fixed projection of the image at 4×4 pixels."""
    pixels = np.asarray(image.convert("RGB").resize((4, 4), Image.Resampling.BOX), np.float64).ravel() / 255
    projection = np.random.default_rng(7).normal(size=(pixels.size + 1, DIM))
    return (np.append(pixels, 0.1) @ projection).astype(np.float32)


def by_model(name: str, vector: np.ndarray) -> np.ndarray:
    """float32 [DIM]: this model's form of an embedding."""
    return vector if name != OTHER.name else np.tanh(np.roll(vector, 5)).astype(np.float32)


def unit(vector: np.ndarray) -> np.ndarray:
    """The normalized vector. A vector of length 1 is not changed."""
    norm = np.linalg.norm(vector.astype(np.float64))
    if abs(norm - 1) <= np.finfo(np.float32).eps:
        return vector.astype(np.float32)
    return (vector / norm).astype(np.float32)


def packed(vector: np.ndarray, format: int = common_pb2.EMBEDDING_FORMAT_FLOAT32_LE) -> common_pb2.Embedding:
    """The message of an embedding."""
    integers = np.array([round(127 * float(number)) for number in vector])
    bits = "".join("1" if number > 0 else "0" for number in vector)
    packed = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    match common_pb2.EmbeddingFormat.Name(format):
        case "EMBEDDING_FORMAT_INT8":
            return common_pb2.Embedding(int8=integers.astype("i1").tobytes())
        case "EMBEDDING_FORMAT_UINT8":
            return common_pb2.Embedding(uint8=(integers + 128).astype("u1").tobytes())
        case "EMBEDDING_FORMAT_BINARY":
            return common_pb2.Embedding(binary=np.array([byte - 128 for byte in packed], "i1").tobytes())
        case "EMBEDDING_FORMAT_UBINARY":
            return common_pb2.Embedding(ubinary=bytes(packed))
        case "EMBEDDING_FORMAT_FLOAT16_LE":
            return common_pb2.Embedding(float16_le=vector.astype("<f2").tobytes())
    return common_pb2.Embedding(float32_le=vector.astype("<f4").tobytes())
