"""A loaded model with the facts that Triton and the gateway need."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import Preprocess, preprocess_of
from clipserve_exporter.sources.fit import first_line
from clipserve_exporter.sources.folder_tokenizer import require_end_token
from clipserve_exporter.sources.licenses import DEMO_LICENSE, UNKNOWN, License
from clipserve_exporter.text_tower import is_huggingface, parts_of, pooling_of, vocabulary_of
from clipserve_exporter.tokenization.folder import LoadedTokenizer
from clipserve_exporter.tokenization.model_tokenizer import Tokenize, context_length_of, load_tokenizer, prove
from clipserve_exporter.tokenizer_facts import TokenizerFacts

DEMO = "demo"
LARGEST_SCALE = 1e6
"""Far above the logit scales of all known models, which are at most 120."""


@dataclass(frozen=True)
class Source:
    """A model in float32, on the CPU, in eval mode."""

    model: Any
    architecture: str
    config: Mapping[str, Any]
    """open_clip's model configuration."""
    pretrained: str
    """The tag or file name that the weights came from; empty for random weights."""
    preprocess: Preprocess
    tokenizer: TokenizerFacts
    tokenize: Tokenize
    """open_clip's tokenizer."""
    context_length: int
    embed_dim: int
    bundle: bytes = b""
    """The tokenizer in the form that travels through Triton; empty if the gateway has it."""
    notes: tuple[str, ...] = ()
    """What was chosen or assumed; each a sentence without its full stop."""
    license: License = UNKNOWN
    """License of the weights."""
    warnings: tuple[str, ...] = ()
    """What the user should check; each a sentence or more without the last full stop."""

    @property
    def logit_scale(self) -> float:
        """The factor by which cosines are multiplied."""
        return math.exp(float(self.model.logit_scale))

    @property
    def logit_bias(self) -> float | None:
        """The term that is added to scaled cosines; None for models without one."""
        bias = getattr(self.model, "logit_bias", None)
        return None if bias is None else float(bias)

    def encode_image(self, images: Tensor) -> Tensor:
        """Normalized float32 [B, 3, S, S] → float32 [B, D] before L2, by open_clip itself."""
        with torch.no_grad():
            return self.model.encode_image(images, normalize=False)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """int64 [B, context_length] → float32 [B, D] before L2, by open_clip itself."""
        with torch.no_grad():
            return self.model.encode_text(tokens, normalize=False)

    def weights_sha256(self) -> str:
        """Hash of the weights, independent of the file format."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


def load(
    model: str, pretrained: str = "", seed: int = 0, activation: str = "", tokenizer: Path | None = None
) -> Source:
    """Loads `demo`, or an open_clip model with the weights of a tag or a local file.

    Without `pretrained` the weights are random, and equal for equal seeds. `activation` is `quickgelu`,
    `gelu` or empty: what the weights were trained with, where they do not tell it. `tokenizer` is a folder
    with the tokenizer's files, for models that do not use OpenAI's.

    Raises ExportError, also for errors of libraries, which raise many kinds of them for damaged files.
    """
    try:
        if model == DEMO:
            return load_demo(pretrained, activation, tokenizer)
        from clipserve_exporter import open_clip_models

        folder, texts = open_clip_models.folder_of(model), None
        if folder is None:
            # Before the weights, which take longer to download.
            texts = load_tokenizer(open_clip_models.config_of(model)["text_cfg"], None, tokenizer)
        loaded = open_clip_models.load(model, pretrained, seed, activation)
        if folder is not None:
            texts = load_tokenizer(loaded.config["text_cfg"], folder, tokenizer)
        source = describe(loaded.model, loaded.architecture, loaded.config, loaded.pretrained, texts)
        if open_clip_models.transformers_folder(model) is not None and not is_huggingface(source.model):
            vocabulary = vocabulary_of(source.model)
            require_end_token(folder or Path(model), pooling_of(source.model), vocabulary, source.tokenize)
        return replace(source, notes=(*loaded.notes, *source.notes), warnings=loaded.warnings)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(
            f"{model} cannot be loaded: its configuration or its weights are damaged "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error


def load_demo(pretrained: str = "", activation: str = "", tokenizer: Path | None = None) -> Source:
    """Loads the bundled demo model. Raises ExportError if it is not installed."""
    from clipserve_exporter import demo

    if pretrained or activation or tokenizer:
        options = "--pretrained, --activation and --tokenizer"
        raise ExportError(f"the demo model brings its own weights; omit {options}")
    if not demo.weights_path().is_file():
        raise ExportError(f"the demo model's weights are missing: {demo.weights_path()}")
    config = demo.config()
    model = demo.load_demo()
    model.visual.preprocess_cfg = config["preprocess_cfg"] | {"size": config["vision_cfg"]["image_size"]}
    source = describe(model, demo.ARCHITECTURE, config, "bundled")
    return replace(source, license=DEMO_LICENSE)


def known_license(model: str, pretrained: str) -> License | None:
    """Returns the license of weights, as far as it is known without them; None for random weights.

    Raises ExportError if there is no such model, or it has no such weights.
    """
    if model == DEMO:
        return DEMO_LICENSE
    from clipserve_exporter import open_clip_models

    return open_clip_models.known_license(model, pretrained)


def describe(
    model: Any,
    architecture: str,
    config: Mapping[str, Any],
    pretrained: str,
    tokenizer: LoadedTokenizer | None = None,
) -> Source:
    """Makes a Source of a model. Raises ExportError if the gateway cannot serve it."""
    model = model.eval().float().requires_grad_(False)
    context = context_length_of(config["text_cfg"], int(parts_of(model).context_length))
    loaded = tokenizer or load_tokenizer(config["text_cfg"])
    texts = prove(config["text_cfg"], loaded, context, vocabulary_of(model))
    try:
        with torch.no_grad():
            # Long enough for the full length: a tower may have too few positions for it.
            width = model.encode_text(texts.encode(["a long text " * context])).shape[1]
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(
            f"open_clip itself cannot encode a text with {architecture}: {first_line(error)}"
        ) from error
    source = Source(
        model=model,
        architecture=architecture,
        config=config,
        pretrained=pretrained,
        preprocess=preprocess_of(model),
        tokenizer=texts.facts,
        tokenize=texts.encode,
        context_length=context,
        embed_dim=int(width),
        bundle=texts.bundle,
        notes=(texts.summary,) if texts.summary else (),
    )
    if not 0 < source.logit_scale <= LARGEST_SCALE:
        raise ExportError(
            f"the model multiplies cosines by {source.logit_scale:g}; a logit scale is above 0 and up to "
            f"{LARGEST_SCALE:g}"
        )
    return source
