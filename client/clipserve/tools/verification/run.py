"""Verifies one model of a running service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipserve.client import Client
from clipserve.errors import (
    BatchError,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    Unimplemented,
)
from clipserve.inputs.image_like import ExactPixels
from clipserve.tools.verification import remedies, samples
from clipserve.tools.verification.compare import LEAST, RECORDED, SAME, Check
from clipserve.tools.verification.golden import Golden
from clipserve.tools.verification.inputs import Inputs, image_inputs, text_inputs
from clipserve.tools.verification.labels import check_scores
from clipserve.tools.verification.requests import Kind, ModelReplaced, Requests, Rows
from clipserve.tools.verification.rows import check_answered, check_different, compared, refused
from clipserve.types import ModelInfo, ServerInfo

SMALL_SIZES = (1, 2, 3, 4, 5, 6, 7, 8)
LARGE_SIZES = ((32,), (11, 13))
STREAM_SIZE = 7
FORMS = 4
"""Pictures that are sent as file, array and Pillow image."""


def planned(golden: Golden | None) -> int:
    """Number of inputs that `verify` sends for one model, for a progress bar."""
    images, texts = image_inputs(golden), text_inputs(golden, 0)
    alone, small, orders, streamed, normalized = 1, 1, 2, 1, 1
    passes = alone + small + len(LARGE_SIZES) + orders + streamed + normalized
    return passes * (len(images.items) + len(texts.items)) + 3 * FORMS


def verify(
    client: Client,
    info: ServerInfo,
    model: ModelInfo,
    golden: Golden | None,
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[Check]:
    """The checks of one model, one after another.

    Raises ClipserveError if the server cannot be reached, is overloaded or does not allow the calls.
    """
    if not model.ready:
        yield Check("served", "failed", "the model is not ready", remedies.NOT_READY)
        return
    same = True
    if golden is not None:
        check = check_fingerprint(model, golden)
        same = check.status == "passed"
        yield check
    requests = Requests(client, model, info.limits.max_items_per_call, advance)
    checks = ModelChecks(client, requests, model, golden, recorded_apply=same)
    try:
        yield from checks.of(image_inputs(golden))
        yield from checks.of(text_inputs(golden, model.context_length))
        yield from checks.across()
    except ModelReplaced:
        yield Check("served", "failed", "another version of the model answers now", remedies.REPLACED)
    except (BatchError, InternalError, InvalidArgument, FailedPrecondition, Unimplemented) as error:
        yield Check("served", "failed", f"a request failed: {error}", remedies.REFUSED)


def check_fingerprint(model: ModelInfo, golden: Golden) -> Check:
    served, recorded = model.ref.fingerprint, golden.fingerprint
    if served == recorded and model.ref.embed_dim == golden.image_vectors.shape[1]:
        return Check("fingerprint", "passed", f"{served[:12]}…, as recorded")
    detail = f"the server has {served[:12]}…, the golden file {recorded[:12]}…"
    return Check("fingerprint", "failed", detail, remedies.FINGERPRINT)


@dataclass(frozen=True, eq=False)
class ModelChecks:
    """The checks of one model: `of` each kind of input, then `across` both."""

    client: Client
    requests: Requests
    model: ModelInfo
    golden: Golden | None
    recorded_apply: bool
    """Whether the golden file is of the served model."""

    @property
    def bound(self) -> float:
        """Least cosine of two embeddings of the same input."""
        return SAME.get(self.model.precision, LEAST)

    def of(self, inputs: Inputs) -> Iterator[Check]:
        """All checks of one kind of input. Without rows to compare with, the first check is the only one."""
        kind, items = inputs.kind, inputs.items
        alone = self.requests.embed(kind, items, [1])
        yield (first := check_answered(kind, alone))
        if first.status == "failed":
            return
        if self.golden is not None:
            yield self._recorded(inputs, alone)
        if kind == "texts":
            yield self._truncated(inputs, alone)
        yield check_different(kind, alone, self.bound)
        for sizes in (SMALL_SIZES, *LARGE_SIZES):
            rows = self.requests.embed(kind, items, sizes)
            yield self._same(f"{kind} in requests of {named(sizes, self.requests.limit)}", rows, alone)
        yield self._reordered(inputs, alone)
        streamed = self.requests.stream(kind, items, STREAM_SIZE)
        yield self._same(f"{kind} in a stream", streamed, alone, remedies.STREAM)
        yield self._normalized(kind, self.requests.embed(kind, items, [8], normalize=True), alone)

    def across(self) -> Iterator[Check]:
        """The forms of a picture, and the scores of labels."""
        from PIL import Image

        arrays = list(samples.picture_arrays(FORMS))
        forms: dict[str, list[Any]] = {
            "file": [samples.png(array) for array in arrays],
            "array": arrays,
            "Pillow image": [Image.fromarray(array) for array in arrays],
        }
        rows = {
            form: self.requests.embed("images", [ExactPixels(picture) for picture in pictures], [FORMS])
            for form, pictures in forms.items()
        }
        for form in ("array", "Pillow image"):
            yield self._same(f"image as {form} and as file", rows[form], rows["file"], remedies.FORM)
        yield check_scores(self.client, self.model, forms["file"], self.bound)

    def _recorded(self, inputs: Inputs, alone: Rows) -> Check:
        assert self.golden is not None
        name = f"{inputs.kind} as recorded"
        if not self.recorded_apply:
            return Check(name, "skipped", "the golden file is of another model")
        golden = self.golden
        expected = golden.image_vectors if inputs.kind == "images" else golden.text_vectors
        names = golden.image_names if inputs.kind == "images" else golden.texts
        bound = RECORDED.get(self.model.precision, LEAST)
        return compared(name, alone.vectors[: inputs.recorded], expected, bound, remedies.RECORDED, names)

    def _truncated(self, inputs: Inputs, alone: Rows) -> Check:
        """The last text is too long. Of the others, the golden file knows which; the own ones are short."""
        last = len(inputs.items) - 1
        expected = {last}
        known = range(inputs.recorded, last + 1)
        if self.golden is not None and self.recorded_apply:
            expected |= {i for i, flag in enumerate(self.golden.truncated) if flag}
            known = range(last + 1)
        sure = [i for i in known if i == last or i < inputs.recorded or short(inputs.items[i], self.model)]
        wrong = [i for i in sure if (i in alone.truncated) != (i in expected)]
        if not wrong:
            return Check("truncated texts", "passed", f"{len(expected)} of {len(sure)} texts, as they should")
        text = inputs.items[wrong[0]][:40]
        state = "is not" if wrong[0] in expected else "is"
        detail = f"{len(wrong)} of {len(sure)} flags are wrong: {text!r} {state} reported as truncated"
        return Check("truncated texts", "failed", detail, remedies.TOKENIZER)

    def _reordered(self, inputs: Inputs, alone: Rows) -> Check:
        """The inputs backwards, and in a random order."""
        count = len(inputs.items)
        orders = np.arange(count)[::-1], np.random.default_rng(0).permutation(count)
        for order in orders:
            rows = self.requests.embed(inputs.kind, [inputs.items[i] for i in order], [32])
            placed = Rows(
                np.empty_like(rows.vectors), errors={int(order[i]): e for i, e in rows.errors.items()}
            )
            placed.vectors[order] = rows.vectors
            check = self._same(f"{inputs.kind} in other orders", placed, alone)
            if check.status == "failed":
                return check
        return check

    def _normalized(self, kind: Kind, rows: Rows, raw: Rows) -> Check:
        name = f"{kind} normalized"
        if rows.errors:
            return refused(name, rows.errors, len(rows.vectors))
        lengths = np.linalg.norm(rows.vectors.astype(np.float64), axis=1)
        furthest = float(np.abs(lengths - 1).max()) if np.isfinite(lengths).all() else float("nan")
        if not furthest <= 1e-3:
            return Check(
                name, "failed", f"lengths differ from 1 by up to {furthest:.2g}", remedies.NORMALIZED
            )
        directions = raw.vectors / np.linalg.norm(raw.vectors, axis=1, keepdims=True)
        return compared(name, rows.vectors, directions, self.bound, remedies.NORMALIZED)

    def _same(self, name: str, rows: Rows, alone: Rows, remedy: str = remedies.BATCH) -> Check:
        if rows.errors:
            return refused(name, rows.errors, len(rows.vectors))
        return compared(name, rows.vectors, alone.vectors, self.bound, remedy)


def short(text: str, model: ModelInfo) -> bool:
    """Whether a text certainly fits the context, whatever the tokenizer: one token for each byte."""
    return len(text.encode()) + 2 <= model.context_length


def named(sizes: Sequence[int], limit: int) -> str:
    """The sizes of requests as words: `1 to 8`, `11 and 13`."""
    real = sorted({min(size, limit) for size in sizes})
    if len(real) > 2:
        return f"{real[0]} to {real[-1]}"
    return " and ".join(map(str, real))
