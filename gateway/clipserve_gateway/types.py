"""Values of the domain: images, texts, models, limits and labels. No protobuf, no engine, no server.

What engines store is in index/values.py. D = embed_dim. Embeddings are float32.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from clipserve_gateway.errors import ClipserveError, InvalidInput

Floats: TypeAlias = npt.NDArray[np.float32]
Pixels: TypeAlias = npt.NDArray[np.uint8]
"""RGB, [height, width, 3], 0–255."""
Ids: TypeAlias = npt.NDArray[np.int32]
Tower: TypeAlias = Literal["image", "text"]


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image file, as received."""

    content: bytes
    exact: bool = False
    """Whether to decode it exactly, regardless of the server's fast_decode setting."""


@dataclass(frozen=True)
class RawImage:
    """Decoded RGB8 pixels, row by row: width × height × 3 bytes."""

    rgb: bytes
    width: int
    height: int
    exact: bool = False
    """As in EncodedImage."""
    orientation: int = 1
    """EXIF orientation of the pixels, 1–8."""


Image: TypeAlias = EncodedImage | RawImage | InvalidInput
Input: TypeAlias = EncodedImage | RawImage | str | InvalidInput
"""An InvalidInput stands for an item that failed validation: it becomes that item's answer."""


@dataclass(frozen=True)
class Preprocess:
    """How a model's images are resized, as open_clip's transform does it. The graph normalizes the pixels.

    Attributes:
        height: of the encoder's input, in pixels.
        width: of the encoder's input, in pixels.
        resize: `shortest`: the short side fits, and the rest is cropped from the center; `longest`: the long
            side fits, and the rest is padded with `fill`; `squash`: both sides fit, and proportions change.
        fill: value of the padding, 0–255.
    """

    height: int
    width: int
    resize: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    fill: int = 0

    @property
    def square_side(self) -> int:
        """Side of a square input; 0 if it is not square."""
        return self.height if self.height == self.width else 0


@dataclass(frozen=True)
class ImageRules:
    """What happens to an image before it is resized. The defaults are open_clip's behavior.

    Attributes:
        orientation: whether the EXIF orientation is applied.
        background: color under transparent pixels, RGB 0–255; None if alpha is dropped.
    """

    orientation: bool = False
    background: tuple[int, int, int] | None = None


AS_OPEN_CLIP = ImageRules()


@dataclass(frozen=True)
class TokenizerSpec:
    """How a model's texts become token ids.

    Attributes:
        kind: `openai_bpe` is part of the gateway; `huggingface` comes from Triton, as a `tokenizer.json`.
        context_length: most tokens of a text, start and end included.
        sha256: hash of the `tokenizer.json`, 64 hex digits; empty for `openai_bpe`.
        clean: what is done to a text before: open_clip's `lower`, `whitespace` or `canonicalize`, or `none`.
        pad_id: the token after the end of a text.
        strip_id: a token that is replaced by 0; None if there is none.
        special_tokens: which spelled-out special tokens `openai_bpe` reads: `openai`'s or `open_clip`'s.
        vocab_size: number of tokens; every id is below it.
    """

    context_length: int
    kind: Literal["openai_bpe", "huggingface"] = "openai_bpe"
    sha256: str = ""
    clean: Literal["lower", "whitespace", "canonicalize", "none"] = "lower"
    pad_id: int = 0
    strip_id: int | None = None
    special_tokens: Literal["openai", "open_clip"] = "openai"
    vocab_size: int = 49408


@dataclass(frozen=True)
class Tokens:
    """Token ids of one text, start and end included, without padding: int32 [n ≤ context_length]."""

    ids: Ids
    truncated: bool


@dataclass(frozen=True)
class Limits:
    """Limits of requests; published by GetServerInfo."""

    max_message_bytes: int
    max_items_per_call: int
    max_image_bytes: int
    max_image_pixels: int
    max_labels: int
    max_prompts: int
    max_top_k: int
    max_text_bytes: int
    stream_window: int
    max_payload_bytes: int
    max_page_size: int
    max_label_bytes: int
    max_filter_bytes: int
    max_held_bytes: int
    max_calls_per_caller: int
    max_streams_per_caller: int
    max_json_bytes: int


@dataclass(frozen=True)
class Canary:
    """Inputs with the embeddings that the original model computes: raw, float32 little-endian [D]."""

    image: bytes
    """An encoded image; it goes through the ordinary preprocessing."""
    image_embedding: bytes
    text: str
    text_embedding: bytes
    text_ids: tuple[int, ...] = ()
    """Token ids of the text, for models whose tokenizer comes from Triton; else empty."""


@dataclass(frozen=True)
class ModelSpec:
    """A model, as its configuration in Triton describes it."""

    name: str
    fingerprint: str
    embed_dim: int
    preprocess: Preprocess
    tokenizer: TokenizerSpec
    fixed_text_length: bool
    logit_scale: float
    logit_bias: float | None
    architecture: str
    pretrained: str
    precision: str
    max_image_batch: int
    max_text_batch: int
    canary: Canary | None = None
    """None if the model was exported without one: its answers cannot be checked."""
    version: str = "1"
    """Version of both towers in Triton; requests to Triton name it."""
    license: str = ""
    """License of the weights, an SPDX identifier or a name; empty if it is not known."""
    device: str = ""
    """Where Triton runs the model, `cpu` or `cuda`; empty if it is not known."""
    matryoshka_dims: tuple[int, ...] = ()
    """Numbers of first dimensions that the model was trained to be used by, ascending, below embed_dim."""

    @property
    def context_length(self) -> int:
        """Most tokens of a text, start and end included."""
        return self.tokenizer.context_length


@dataclass(frozen=True)
class Embedded:
    """One embedding, float32 [D], or the error that prevented it."""

    embedding: Floats | None = None
    truncated: bool = False
    error: ClipserveError | None = None
    tokens: int = 0
    """Tokens of a text that the model read, start and end included; 0 for an image."""


class ScoreMode(enum.Enum):
    """How cosines become scores: over all labels together, or of each label alone."""

    SOFTMAX = "softmax"
    INDEPENDENT = "independent"


@dataclass(frozen=True)
class NoneOfTheAbove:
    """The answer for images that match no label."""

    name: str
    prompts: tuple[str, ...] = ()
    """Complete prompts that score it like a label; without prompts, negative words score it."""
    threshold: float = 0.0


@dataclass(frozen=True)
class LabelSet:
    """Ordered, distinct labels and the prompt templates for them."""

    names: tuple[str, ...]
    templates: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    none_of_the_above: NoneOfTheAbove | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """The labels, followed by none of the above."""
        none = self.none_of_the_above
        return self.names if none is None else (*self.names, none.name)

    @property
    def needs_negative_words(self) -> bool:
        """Whether none of the above has no prompts of its own."""
        return self.none_of_the_above is not None and not self.none_of_the_above.prompts

    @property
    def rows(self) -> int:
        """Number of embeddings: one per answer, without none of the above if negative words score it."""
        return len(self.answers) - self.needs_negative_words

    @property
    def answer_thresholds(self) -> tuple[float, ...]:
        """One threshold per answer, or an empty tuple."""
        none = self.none_of_the_above
        return self.thresholds if none is None or not self.thresholds else (*self.thresholds, none.threshold)


@dataclass(frozen=True)
class LabelSetRef:
    """A stored label set; version 0 means the latest."""

    name: str
    version: int = 0


@dataclass(frozen=True)
class LabelScore:
    """The score of one label for one image: cosine −1…1; probability 0…1, None if the model has none."""

    label: str
    index: int
    cosine: float
    probability: float | None
    above_threshold: bool | None


@dataclass(frozen=True)
class Classified:
    """The best labels of one image, best first, or the error that prevented them."""

    scores: Sequence[LabelScore] = ()
    error: ClipserveError | None = None
