"""Narrow models that export in a second, and a real Triton to serve them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch is imported: threads that spin while they wait cost much where cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before the hub's client is imported: no test asks a hub.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from clipserve_exporter.source import Source, describe, load
from clipserve_exporter.tokenization.model_tokenizer import ModelTokenizer
from clipserve_exporter.tokenizer_facts import TokenizerFacts
from clipserve_exporter.torchvision_shim import make_importable

from testing.tritonserver import TritonServer

# Before any test module imports open_clip.
make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"width": 64, "heads": 2, "layers": 2}


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Narrow models gain nothing from threads, and lose much where cores are shared."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)


def write_config(folder: Path, **changes: Any) -> str:
    """A narrow architecture as `local-dir:…`; `text_cfg` and `vision_cfg` change single settings."""
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}
    preprocess = changes.pop("preprocess_cfg", {})
    for key, value in changes.items():
        config[key] = config[key] | value if key in ("vision_cfg", "text_cfg") else value
    file = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(file))
    return f"local-dir:{folder}"


@pytest.fixture
def narrow(tmp_path: Path) -> Callable[..., Source]:
    """Makes narrow models with random weights."""

    def make(seed: int = 0, **changes: Any) -> Source:
        return load(write_config(tmp_path / "narrow", **changes), seed=seed)

    return make


@pytest.fixture
def narrow_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Source]:
    """Makes narrow models of any text tower with random weights; their tokenizer is only a vocabulary.

    `pad_id` is the tokenizer's; `hf` is the configuration of a Hugging Face encoder.
    """

    def make(pad_id: int = 0, hf: dict[str, Any] | None = None, **changes: Any) -> Source:
        text = changes.get("text_cfg", {}) | {"hf_tokenizer_name": "none"}
        if hf is not None:
            folder = tmp_path / "hf"
            folder.mkdir(exist_ok=True)
            (folder / "config.json").write_text(json.dumps(hf))
            text["hf_model_name"] = str(folder)
        name = write_config(tmp_path / "narrow", **changes | {"text_cfg": text})
        config = json.loads((tmp_path / "narrow" / "open_clip_config.json").read_text())["model_cfg"]
        torch.manual_seed(0)
        model = open_clip.create_model(name, pretrained_text=False)

        def vocabulary(text_cfg: object, loaded: object, context: int, rows: int) -> ModelTokenizer:
            facts = TokenizerFacts("huggingface", pad_id=pad_id, vocab_size=rows)
            return ModelTokenizer(facts, lambda texts, length=None: torch.full((len(texts), context), 3))

        monkeypatch.setattr("clipserve_exporter.source.load_tokenizer", lambda text_cfg: None)
        monkeypatch.setattr("clipserve_exporter.source.prove", vocabulary)
        return describe(model, "narrow", config, "")

    return make


@pytest.fixture(scope="session")
def narrow_model() -> Callable[..., str]:
    """See write_config."""
    return write_config


@pytest.fixture(scope="session")
def tritonserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], TritonServer]]:
    """Starts real tritonservers on repositories; they end with the tests."""
    running: list[TritonServer] = []

    def start(repository: Path) -> TritonServer:
        server = TritonServer(repository, tmp_path_factory.mktemp("triton"))
        running.append(server)
        server.wait_ready()
        return server

    yield start
    for server in running:
        server.stop()
