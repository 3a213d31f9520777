"""The preprocessing of a transformers folder, from its preprocessor_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.json_file import read_json

FILE, PROCESSOR = "preprocessor_config.json", "processor_config.json"
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NAFLEX = "Siglip2ImageProcessor"
"""Processor of images of any proportions, up to a number of patches."""
SCALE = 1 / 255


def image_preprocessing(folder: Path, model_type: str, image_size: int) -> dict[str, Any]:
    """Returns open_clip's preprocess_cfg. Raises ExportError if there is none, or open_clip has no equal."""
    config = processor_config(folder)
    path = folder / FILE
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    if kind.startswith(NAFLEX):
        raise ExportError(
            f"{folder} is a NaFlex model: it takes images of any proportions, and the export has one fixed "
            "size. Use a SigLIP 2 model with a fixed size, such as siglip2-base-patch16-224"
        )
    for key in ("do_resize", "do_rescale"):
        if config.get(key, True) is not True:
            raise ExportError(f"{path} has {key} {config[key]!r}; supported is true")
    if abs(config.get("rescale_factor", SCALE) - SCALE) > 1e-6:
        raise ExportError(f"{path} has rescale_factor {config['rescale_factor']!r}; supported is 1/255")
    mode, size = resizing(config, path, siglip=model_type.startswith("siglip"))
    if size != (image_size, image_size):
        raise ExportError(
            f"{path} makes images of {size[1]} × {size[0]} pixels, and config.json has image_size "
            f"{image_size}"
        )
    resample = config.get("resample", 3)
    if resample not in INTERPOLATIONS:
        raise ExportError(f"{path} has resample {resample!r}; supported are 2 (bilinear) and 3 (bicubic)")
    mean, std = normalization(config, path, siglip=model_type.startswith("siglip"))
    return {
        "size": size,
        "mean": mean,
        "std": std,
        "resize_mode": mode,
        "interpolation": INTERPOLATIONS[resample],
    }


def processor_config(folder: Path) -> dict[str, Any]:
    """Returns the settings of the folder's image processor."""
    if (folder / FILE).is_file():
        return read_json(folder / FILE)
    if (folder / PROCESSOR).is_file():
        inner = read_json(folder / PROCESSOR).get("image_processor")
        if isinstance(inner, dict):
            return inner
    raise ExportError(
        f"{folder} has no {FILE}, which tells how images are prepared; download it too, beside config.json"
    )


def resizing(config: Mapping[str, Any], path: Path, siglip: bool) -> tuple[str, tuple[int, int]]:
    """Returns open_clip's resize_mode, and height and width of the result."""
    size = config.get("size", {"height": 224, "width": 224} if siglip else {"shortest_edge": 224})
    if isinstance(size, int):
        size = {"height": size, "width": size} if siglip else {"shortest_edge": size}
    crops = bool(config.get("do_center_crop", not siglip))
    crop = config.get("crop_size", 224) if crops else None
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    try:
        if "shortest_edge" in size:
            short = int(size["shortest_edge"])
            if crop is None or (crop["height"], crop["width"]) != (short, short):
                raise ExportError(
                    f"{path} resizes the short side to {short} pixels and crops to "
                    f"{crop and (crop['width'], crop['height'])}; supported is a crop of the same size"
                )
            return "shortest", (short, short)
        sides = int(size["height"]), int(size["width"])
        if crop is not None and (crop["height"], crop["width"]) != sides:
            raise ExportError(f"{path} crops images after it has resized both sides; that is not supported")
        return "squash", sides
    except (KeyError, TypeError, ValueError) as error:
        raise ExportError(f"{path} has size {size!r} and crop_size {crop!r}; they cannot be read") from error


def normalization(
    config: Mapping[str, Any], path: Path, siglip: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and standard deviation of the channels."""
    if not config.get("do_normalize", True):
        return (0.0,) * 3, (1.0,) * 3
    usual = ((0.5,) * 3, (0.5,) * 3) if siglip else (CLIP_MEAN, CLIP_STD)
    channels = []
    for key, default in zip(("image_mean", "image_std"), usual, strict=True):
        values = config.get(key) or default
        if not isinstance(values, (list, tuple)) or len(values) != 3:
            raise ExportError(f"{path} has {key} {values!r}; it must be three numbers")
        channels.append(tuple(map(float, values)))
    return channels[0], channels[1]
