"""A server, its models and its limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelRef:
    """The identity of a model. Only embeddings with the same fingerprint can be compared."""

    name: str
    fingerprint: str
    """64 hex digits, computed from weights, architecture, preprocessing and tokenizer."""
    embed_dim: int


@dataclass(frozen=True)
class ImageRules:
    """What a server does to an image before it resizes it."""

    apply_orientation: bool = False
    """Whether the EXIF orientation is applied. If not, the pixels count as they are stored."""
    alpha_background: str = ""
    """The color behind transparent pixels, ``#rrggbb``; empty if transparency is dropped."""

    def __str__(self) -> str:
        """The rules in words."""
        turned = "applied" if self.apply_orientation else "not applied"
        alpha = f"shown on {self.alpha_background}" if self.alpha_background else "dropped"
        return f"EXIF orientation {turned}, transparency {alpha}"


@dataclass(frozen=True)
class ModelInfo:
    """One model of a server."""

    ref: ModelRef
    ready: bool
    architecture: str
    pretrained: str
    image_size: int
    """Side length, in pixels, of the image encoder's input if it is square; else 0."""
    context_length: int
    """Maximum number of tokens of the text encoder."""
    logit_scale: float
    """Factor for cosines before softmax or sigmoid."""
    logit_bias: float | None
    """Bias before the sigmoid; None for models that are trained with softmax."""
    precision: str
    """``fp32``, ``bf16`` or ``fp16``."""
    device: str = ""
    """Where Triton runs the encoders: ``cpu`` or ``cuda``; empty if the server does not say."""
    tokenizer: str = ""
    """``openai_bpe``, CLIP's own, or ``huggingface``, a tokenizer.json that travels with the model."""
    tokenizer_sha256: str = ""
    """SHA-256 of the tokenizer.json, in hex; empty for ``openai_bpe``."""
    text_clean: str = ""
    """What is done to a text before: ``whitespace``, ``lower``, ``canonicalize`` or ``none``."""
    vocab_size: int = 0
    """Number of tokens of the vocabulary."""
    image_height: int = 0
    """Height of the image encoder's input, in pixels."""
    image_width: int = 0
    """Width of the image encoder's input, in pixels."""
    resize: str = "shortest"
    """How images get this shape: ``shortest`` crops, ``longest`` pads, ``squash`` changes proportions."""
    interpolation: str = "bicubic"
    """How pixels are averaged: ``bicubic`` or ``bilinear``."""
    license: str = ""
    """License of the weights, as on the Hugging Face hub, such as `mit`; empty if it is not known."""
    matryoshka_dims: tuple[int, ...] = ()
    """Numbers of first dimensions that the model was trained to be used by; empty if it was not."""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.ref.name


@dataclass(frozen=True)
class Limits:
    """The server's limits for requests. The client splits long lists accordingly."""

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
    max_page_size: int = 0
    max_label_bytes: int = 0
    max_filter_bytes: int = 0
    max_held_bytes: int = 0
    max_calls_per_caller: int = 0
    max_streams_per_caller: int = 0
    max_json_bytes: int = 0


@dataclass(frozen=True)
class ServerInfo:
    """Version, models, limits and features of a server."""

    version: str
    models: tuple[ModelInfo, ...]
    default_model: str
    """Model of calls that name no model; empty if calls must name one."""
    limits: Limits
    engine: str = ""
    """The index engine: ``lancedb`` or ``milvus``."""
    keeps_sources: bool = False
    """Whether collections can store the sources of their points."""
    restores_sources: bool = False
    """Whether a point can be written with both an embedding and its source."""
    inserts_new_points: bool = False
    """Whether the server supports ``Point.must_be_new``."""
    image_rules: ImageRules = ImageRules()
    """For embedding and classifying, and for new collections; other collections have their own."""
