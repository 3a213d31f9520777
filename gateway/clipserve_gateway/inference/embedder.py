"""Embeds any mix of images and texts. A bad item never fails the others."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import math
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from clipserve_gateway import errors
from clipserve_gateway.flow.concurrency import gather
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, current_lane
from clipserve_gateway.flow.shared_work import SharedWork
from clipserve_gateway.flow.stages import stage
from clipserve_gateway.inference.dimensions import first_dimensions, normalized
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.inputs.decode_pool import DecodePool
from clipserve_gateway.inputs.image_memory import LARGE_BYTES
from clipserve_gateway.inputs.tokenizer import encode_each, tokenizer_for
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton.encoder import QueueingEncoder, padded
from clipserve_gateway.triton.models import Models
from clipserve_gateway.types import (
    AS_OPEN_CLIP,
    Embedded,
    EncodedImage,
    Floats,
    Ids,
    Image,
    ImageRules,
    Input,
    Limits,
    ModelSpec,
    Pixels,
    Tokens,
)

log = logging.getLogger(__name__)

IMAGES_PER_CALL = 8
"""Images in one call to Triton: enough to share a call's cost, and few enough that the calls of a request are
decoded and encoded at the same time and mix with other requests in Triton's batches."""

BULK_CHUNKS = 2
"""Calls in progress of one bulk request to a slow tower: one is decoded while the other is encoded. Decoding
more at once would take the cores from interactive calls."""

PROMPTS_IN_FLIGHT = 4
"""Text batches of one request at Triton: enough to keep it busy, and few enough for other callers' texts."""

Batch = TypeVar("Batch", Pixels, Ids)


@dataclass(frozen=True)
class EmbedOutcome:
    """The model, and one result for each input."""

    spec: ModelSpec
    items: list[Embedded]


class Embedder:
    """Decodes or tokenizes inputs, and encodes them with a model."""

    def __init__(
        self,
        models: Models,
        encoder: QueueingEncoder,
        pool: DecodePool,
        limits: Limits,
        metrics: Metrics,
        *,
        fast_decode: bool,
        rules: ImageRules = AS_OPEN_CLIP,
    ) -> None:
        self._models = models
        self._encoder = encoder
        self._pool = pool
        self._image_limits = preprocess.ImageLimits(limits.max_image_bytes, limits.max_image_pixels)
        self._fast_decode = fast_decode
        self._rules = rules
        self._images: SharedWork[Embedded] = SharedWork(metrics.shared_items.inc)
        self._texts: SharedWork[Embedded] = SharedWork(metrics.shared_items.inc)

    async def embed(
        self,
        model: str,
        inputs: Sequence[Input],
        *,
        normalize: bool = True,
        dimensions: int = 0,
        deadline: Deadline,
        rules: ImageRules | None = None,
    ) -> EmbedOutcome:
        """Embeds `inputs`, in order, with the named model; an empty name means the default model.

        `dimensions`: how many of the first dimensions to return; 0 means all. `rules` for images: None means
        the server's.

        The result of a bad item is its error. Raises ModelNotFound, ModelUnavailable, Overloaded or
        DeadlineExceeded if the whole call fails.
        """
        spec = self._models.get(model)
        items: list[Embedded] = [Embedded()] * len(inputs)
        images = [(i, item) for i, item in enumerate(inputs) if not isinstance(item, str)]
        texts = [(i, item) for i, item in enumerate(inputs) if isinstance(item, str)]
        parts = []
        if images:
            parts.append(self.embed_images(spec, [item for _, item in images], deadline, rules))
        if texts:
            parts.append(self.embed_texts(spec, [item for _, item in texts], deadline))
        results = [result for part in await gather(*parts) for result in part]
        for (i, _), result in zip([*images, *texts], results, strict=True):
            item = first_dimensions(result, dimensions or spec.embed_dim)
            items[i] = normalized(item) if normalize else item
        return EmbedOutcome(spec, items)

    async def embed_images(
        self, spec: ModelSpec, images: Sequence[Image], deadline: Deadline, rules: ImageRules | None = None
    ) -> list[Embedded]:
        """Raw embeddings of images, in order. `rules`: see embed.

        Raises Overloaded at once if the result would come after the deadline.
        """
        if not images:
            return []
        how = self._rules if rules is None else rules
        self._pool.check(len(images), deadline)
        self._encoder.check(spec, "image", len(images), deadline)
        size = min(IMAGES_PER_CALL, spec.max_image_batch)
        chunks = [images[i : i + size] for i in range(0, len(images), size)]
        bounded = current_lane() is Lane.BULK and self._encoder.bounds_bulk(spec, "image")
        turns = asyncio.Semaphore(BULK_CHUNKS if bounded else len(chunks))

        async def one(chunk: Sequence[Image]) -> list[Embedded]:
            async with turns:
                return await self._images.run(
                    [(share_key(spec, image), how) for image in chunk],
                    deadline,
                    lambda new, _: self._embed_image_chunk(spec, [chunk[i] for i in new], how, deadline),
                )

        return [item for chunk in await gather(*map(one, chunks)) for item in chunk]

    async def _embed_image_chunk(
        self, spec: ModelSpec, images: Sequence[Image], rules: ImageRules, deadline: Deadline
    ) -> list[Embedded]:
        with stage("decode"):
            decoded = await gather(*(self._decode(spec, image, rules, deadline) for image in images))
        good = [pixels for pixels in decoded if not isinstance(pixels, errors.ClipserveError)]
        encoded: list[Embedded] = []
        if good:
            with stage("encode"):
                encode = functools.partial(self._encoder.encode, spec, "image", deadline=deadline)
                # A single image is not copied.
                batch = good[0][np.newaxis] if len(good) == 1 else np.stack(good)
                encoded = await isolating(encode, batch)
        answers = iter(encoded)
        return [
            Embedded(error=pixels) if isinstance(pixels, errors.ClipserveError) else next(answers)
            for pixels in decoded
        ]

    async def _decode(
        self, spec: ModelSpec, image: Image, rules: ImageRules, deadline: Deadline
    ) -> Pixels | errors.InvalidInput:
        """Pixels of one image, or what is wrong with it."""
        if isinstance(image, errors.InvalidInput):
            return image
        fast = self._fast_decode and not image.exact
        how: dict[str, Any] = {
            "preprocess": spec.preprocess,
            "rules": rules,
            "limits": self._image_limits,
            "fast": fast,
        }
        try:
            if isinstance(image, EncodedImage):
                return await self._load(image.content, how, deadline)
            work = functools.partial(preprocess.load_raw, image, **how)
            large = preprocess.raw_bytes(image, rules) > LARGE_BYTES
            cost = math.ceil(image.width * image.height / 1e6) if large else 1
            return await self._pool.run(work, deadline=deadline, alone=large, cost=cost)
        except errors.InvalidInput as error:
            return error if error.field else error.at("content")
        except errors.ClipserveError:
            raise
        except Exception:
            # An unexpected error of the decoder must not fail the other images.
            log.exception("decoding an image failed unexpectedly")
            return errors.ImageUnreadable("the image cannot be decoded", field="content")

    async def _load(self, content: bytes, how: dict[str, Any], deadline: Deadline) -> Pixels:
        """Pixels of an encoded image. Images that take much memory are decoded one at a time."""
        small = functools.partial(preprocess.load_small, content, **how)
        large = functools.partial(preprocess.load_image, content, **how)
        return await self._pool.run_by_size(small, large, deadline=deadline)

    async def embed_texts(self, spec: ModelSpec, texts: Sequence[str], deadline: Deadline) -> list[Embedded]:
        """Raw embeddings of texts, in order.

        Raises Overloaded at once if the result would come after the deadline.
        """
        if not texts:
            return []
        self._encoder.check(spec, "text", min(len(texts), spec.max_text_batch), deadline)
        return await self._texts.run(
            [share_key(spec, text) for text in texts],
            deadline,
            lambda new, _: self._embed_new_texts(spec, [texts[i] for i in new], deadline),
        )

    async def _embed_new_texts(
        self, spec: ModelSpec, texts: Sequence[str], deadline: Deadline
    ) -> list[Embedded]:
        with stage("tokenize"):
            tokens = await encode_each(tokenizer_for(spec.tokenizer), texts, deadline)
        good = [each for each in tokens if isinstance(each, Tokens)]
        with stage("encode"):
            answers = iter(await self._encode_tokens(spec, good, deadline))
        return [next(answers) if isinstance(each, Tokens) else Embedded(error=each) for each in tokens]

    async def _encode_tokens(
        self, spec: ModelSpec, tokens: Sequence[Tokens], deadline: Deadline
    ) -> list[Embedded]:
        """Encodes texts of similar length together, so that a batch has little padding."""
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i].ids))
        batches = [order[i : i + spec.max_text_batch] for i in range(0, len(order), spec.max_text_batch)]
        gate = asyncio.Semaphore(PROMPTS_IN_FLIGHT)
        encode = functools.partial(self._encoder.encode, spec, "text", deadline=deadline)

        async def one(batch: list[int]) -> list[Embedded]:
            async with gate:
                return await isolating(encode, padded(spec, [tokens[i].ids for i in batch]))

        results: list[Embedded] = [Embedded()] * len(tokens)
        for batch, items in zip(batches, await gather(*map(one, batches)), strict=True):
            for i, item in zip(batch, items, strict=True):
                read = tokens[i]
                results[i] = dataclasses.replace(item, truncated=read.truncated, tokens=len(read.ids))
        return results


def share_key(spec: ModelSpec, item: Input) -> Hashable:
    """Equal for inputs that may share a result. Lanes do not share: interactive calls would wait for bulk."""
    if isinstance(item, errors.InvalidInput):
        return id(item)
    return spec.name, spec.fingerprint, spec.version, current_lane(), item


async def isolating(encode: Callable[[Batch], Awaitable[Floats]], batch: Batch) -> list[Embedded]:
    """Encodes a batch. If it fails, encodes its halves, until each failing item is alone."""
    try:
        return [checked(row) for row in await encode(batch)]
    except errors.InferenceFailed as error:
        if len(batch) == 1:
            return [Embedded(error=error)]
    half = len(batch) // 2
    parts = await gather(isolating(encode, batch[:half]), isolating(encode, batch[half:]))
    return [item for part in parts for item in part]


def checked(row: Floats) -> Embedded:
    """The row, or InferenceFailed if a number in it is not finite."""
    if np.isfinite(row).all():
        return Embedded(row)
    return Embedded(error=errors.InferenceFailed("the model returned numbers that are not finite"))
