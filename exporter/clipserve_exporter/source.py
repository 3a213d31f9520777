"""Where a model comes from: the bundled demo, or anything that open_clip can load."""

from __future__ import annotations

import hashlib
import math
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipserve_exporter.errors import ExportError
from clipserve_exporter.text_tower import VOCABULARY
from clipserve_exporter.torchvision_shim import make_importable

DEMO = "demo"
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives keep among the weights."""


@dataclass(frozen=True)
class Preprocess:
    """How pixels are prepared: short side to `size`, bicubic, center crop, then (x / 255 - mean) / std."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Source:
    """A model as it was loaded: float32, on the CPU, in eval mode."""

    model: Any
    architecture: str
    pretrained: str
    """The tag or file name that the weights came from; empty for random weights."""
    preprocess: Preprocess
    context_length: int
    embed_dim: int

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with, exponentiated."""
        return math.exp(float(self.model.logit_scale.detach()))

    @property
    def logit_bias(self) -> float | None:
        """What is added to scaled cosines; None for models without one."""
        bias = getattr(self.model, "logit_bias", None)
        return None if bias is None else float(bias.detach())

    def weights_sha256(self) -> str:
        """Hash of the weights themselves: the same for every file format that holds them."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().contiguous().numpy().data)
        return digest.hexdigest()


def load(model: str, pretrained: str = "", seed: int = 0) -> Source:
    """Loads `demo`, or an open_clip architecture with the weights of a tag or local file.

    Without weights they are random, the same for the same seed. Raises ExportError.
    """
    make_importable()
    if model == DEMO:
        return load_demo(pretrained)
    torch.manual_seed(seed)
    return described(open_clip_model(model, pretrained), model, pretrained)


def load_demo(pretrained: str) -> Source:
    """The bundled demo model."""
    from clipserve_exporter import demo

    if pretrained:
        raise ExportError("the demo model brings its own weights; leave --pretrained away")
    if not demo.weights_path().is_file():
        raise ExportError(f"the demo model's weights are missing: {demo.weights_path()}")
    model = demo.load_demo()
    config = demo.config()
    model.visual.preprocess_cfg = config["preprocess_cfg"] | {"size": config["vision_cfg"]["image_size"]}
    return described(model, demo.ARCHITECTURE, "bundled")


def described(model: nn.Module, architecture: str, pretrained: str) -> Source:
    """The model with what Triton and the gateway must know of it; ExportError if they could not serve it."""
    model = model.eval().float().requires_grad_(False)
    return Source(
        model=model,
        architecture=architecture,
        pretrained=Path(pretrained).name if Path(pretrained).is_file() else pretrained,
        preprocess=preprocess_of(model),
        context_length=int(model.context_length),
        embed_dim=embed_dim_of(model),
    )


def preprocess_of(model: Any) -> Preprocess:
    """The model's preprocessing; ExportError where the gateway does not do it."""
    config = model.visual.preprocess_cfg
    size = config["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ExportError(f"the model takes {size} pixels; only square images are served")
    for key, served in (("resize_mode", "shortest"), ("interpolation", "bicubic")):
        if config.get(key, served) != served:
            raise ExportError(
                f"the model's preprocessing has {key}={config[key]!r}; only {served!r} is served"
            )
    return Preprocess(int(sides.pop()), tuple(config["mean"]), tuple(config["std"]))


def embed_dim_of(model: Any) -> int:
    """Length of the model's embeddings, found by asking its text tower."""
    with torch.no_grad():
        return int(model.encode_text(torch.zeros(1, model.context_length, dtype=torch.int64)).shape[1])


def open_clip_model(name: str, pretrained: str) -> nn.Module:
    """What open_clip makes of a name and a tag or file; its errors as ExportError."""
    import open_clip
    from open_clip.factory import HF_HUB_PREFIX, LOCAL_DIR_PREFIX

    known = name.startswith((HF_HUB_PREFIX, LOCAL_DIR_PREFIX))
    if not known and name not in open_clip.list_models():
        raise ExportError(
            f"open_clip knows no architecture {name!r}{did_you_mean(name, open_clip.list_models())}"
        )
    config = open_clip.get_model_config(name)
    require_openai_tokenizer(name, config["text_cfg"])
    archive = bool(pretrained) and is_torchscript(Path(pretrained))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="QuickGELU mismatch")
        try:
            model = open_clip.create_model(name, pretrained=None if archive else pretrained or None)
        except UserWarning as mismatch:
            raise ExportError(
                f"the weights {pretrained!r} were trained with another activation; use --model {name}-quickgelu"
            ) from mismatch
    if archive:
        load_torchscript_weights(model, Path(pretrained))
    return model


def did_you_mean(name: str, names: list[str]) -> str:
    """A hint at names that look alike."""
    import difflib

    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def require_openai_tokenizer(name: str, text: dict[str, Any]) -> None:
    """ExportError unless the architecture is used with OpenAI's tokenizer, which is the one we serve."""
    other = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    if not other and "siglip" in name.lower() and ":" not in name:
        other = "SigLIP's"
    if not other and text.get("tokenizer_kwargs"):
        other = f"options {text['tokenizer_kwargs']}"
    if not other and text.get("vocab_size", VOCABULARY) != VOCABULARY:
        other = f"a vocabulary of {text['vocab_size']}"
    if other:
        raise ExportError(
            f"{name} uses another tokenizer ({other}); only OpenAI's BPE with 49,408 tokens is served"
        )


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI published its weights in."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in entry for entry in archive.namelist())


def load_torchscript_weights(model: nn.Module, path: Path) -> None:
    """Takes over the weights of a TorchScript archive."""
    state = torch.jit.load(path, map_location="cpu").state_dict()
    model.load_state_dict({name: value.float() for name, value in state.items() if name not in NOT_WEIGHTS})
