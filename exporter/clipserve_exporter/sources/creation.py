"""Creates open_clip's models with weights from files that open_clip itself would not read."""

from __future__ import annotations

import contextlib
import copy
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.fit import first_line, interpolated, misfit, require_numbers
from clipserve_exporter.sources.shards import INDEX_SUFFIX
from clipserve_exporter.sources.skeleton import require_sizes
from clipserve_exporter.sources.weights_file import is_torchscript, read_weights
from clipserve_exporter.sources.wrappings import NOT_WEIGHTS
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)
from open_clip import factory  # noqa: E402
from open_clip import pretrained as tags  # noqa: E402

FIND_CHECKPOINT, DOWNLOAD = factory._find_checkpoint_in_dir, factory.download_pretrained_from_hf
MODELS = ("CLIP", "CustomTextCLIP", "CoCa")
"""Classes of models in open_clip's factory."""
GIVE_FILES = (
    "if this machine cannot reach a model hub, download the files elsewhere and pass --pretrained FILE, "
    "or --model local-dir:FOLDER for a folder with open_clip_config.json and weights"
)


def created(
    name: str,
    pretrained: str,
    preprocess: Mapping[str, Any] | None = None,
    required: bool = False,
    **changes: Any,
) -> tuple[nn.Module, list[str]]:
    """Creates a model with open_clip; `changes` replace entries of its configuration.

    Returns it with sentences on what open_clip changed in the weights. Raises ExportError if that fails.
    """
    what = Path(pretrained).name if pretrained else name
    try:
        with files_read_by_content() as read, warnings.catch_warnings():
            # Of an activation other than the tag's, which `changes` puts right.
            warnings.simplefilter("ignore")
            model = open_clip.create_model(
                name,
                pretrained=pretrained or None,
                force_preprocess_cfg=dict(preprocess or {}),
                require_pretrained=required,
                **changes,
            )
    except ERRORS as error:
        if Path(pretrained).is_file() or name.startswith(factory.LOCAL_DIR_PREFIX):
            raise ExportError(
                f"the weights of {pretrained or name} do not fit {name}: {misfit(error)}"
            ) from error
        where = tags.get_pretrained_cfg(name, pretrained).get("hf_hub", "").strip("/")
        raise ExportError(
            f"the weights {pretrained or name}{f' ({where})' if where else ''} could not be downloaded; "
            f"{GIVE_FILES}"
        ) from error
    if read:
        # open_clip leaves some random weights that no embedding depends on without a value.
        require_numbers(model, read, what)
    return model, interpolated(model, read, what)


ERRORS = (
    *(RuntimeError, OSError, ValueError, KeyError, pickle.UnpicklingError),
    *(AssertionError, AttributeError, IndexError, TypeError),
)
"""What open_clip raises for weights that cannot be had or do not fit."""


@contextlib.contextmanager
def files_read_by_content() -> Iterator[dict[str, Tensor]]:
    """Makes open_clip read weights by their content: by itself it goes by suffixes, and knows few formats.

    Yields a dictionary that receives the names of the weights with their shapes and types, without data. The
    weights of a folder or a hub are read before the network is built, since its sizes come from there too.
    """
    read: dict[str, Tensor] = {}
    checkpoints: list[str] = []
    early: dict[str, dict[str, Tensor]] = {}

    def load_state_dict(path: str, device: str = "cpu", weights_only: bool = True) -> dict[str, Tensor]:
        if str(path) in early:
            return early.pop(str(path))
        state = archive_weights(Path(path)) if is_torchscript(Path(path)) else read_weights(path)
        if any(name.startswith(("vision_model.", "text_model.")) for name in state):
            raise ExportError(
                f"the weights of {path} have the names of Hugging Face's transformers; pass their folder "
                "with config.json and preprocessor_config.json: --model FOLDER"
            )
        read.update({name: value.to("meta") for name, value in state.items()})
        return state

    def find_checkpoint(folder: Path) -> str | None:
        checkpoint = checkpoint_in(folder)
        checkpoints.extend([] if checkpoint is None else [str(checkpoint)])
        return None if checkpoint is None else str(checkpoint)

    def download(model_id: str, filename: str | None = None, **options: Any) -> str:
        path = DOWNLOAD(model_id, filename, **options)
        checkpoints.extend([] if filename else [path])
        return path

    def checked(kind: type[nn.Module]) -> Callable[..., nn.Module]:
        def make(**config: Any) -> nn.Module:
            for path in checkpoints[-1:]:
                early[path] = load_state_dict(path)
                require_sizes(lambda: kind(**copy.deepcopy(config)), config, early[path])
            return kind(**config)

        return make

    replaced = {name: getattr(factory, name) for name in ("load_state_dict", *MODELS)}
    factory.load_state_dict = load_state_dict
    factory._find_checkpoint_in_dir = find_checkpoint
    factory.download_pretrained_from_hf = download
    for name in MODELS:
        setattr(factory, name, checked(replaced[name]))
    try:
        yield read
    finally:
        factory._find_checkpoint_in_dir = FIND_CHECKPOINT
        factory.download_pretrained_from_hf = DOWNLOAD
        for name, value in replaced.items():
            setattr(factory, name, value)


def checkpoint_in(folder: Path) -> Path | None:
    """Returns the file of weights in a folder: an index of several files, or open_clip's choice."""
    checkpoint = FIND_CHECKPOINT(folder)
    indexes = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if indexes and (checkpoint is None or "-of-" in Path(checkpoint).name):
        return indexes[0]
    return Path(checkpoint) if checkpoint else None


def archive_weights(path: Path) -> dict[str, Tensor]:
    """Reads the weights of a CLIP model from a TorchScript archive. Raises ExportError if it has none."""
    try:
        state = torch.jit.load(path, map_location="cpu").state_dict()
    except Exception as error:  # torch raises many kinds of errors for a damaged archive.
        raise ExportError(f"{path} is a damaged TorchScript archive: {first_line(error)}") from error
    if "logit_scale" not in state:
        raise ExportError(
            f"{path} is a TorchScript archive of another model: it has no CLIP weights (no logit_scale)"
        )
    return {name: value.float() for name, value in state.items() if name not in NOT_WEIGHTS}
