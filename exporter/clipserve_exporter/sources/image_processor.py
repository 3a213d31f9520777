"""The preprocessing of a transformers folder, from its preprocessor_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import LARGEST_SIDE, is_finite, is_whole
from clipserve_exporter.sources.json_file import read_json

FILE, PROCESSOR = "preprocessor_config.json", "processor_config.json"
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NAFLEX = "Siglip2ImageProcessor"
"""Processor of images of any proportions, up to a number of patches."""
SCALE = 1 / 255
SIDES = ("height", "width")


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
        if not flag(config, key, True, path):
            raise ExportError(f"{path} has {key} false; supported is true")
    factor = config.get("rescale_factor", SCALE)
    if not is_finite(factor) or abs(factor - SCALE) > 1e-6:
        raise ExportError(f"{path} has rescale_factor {factor!r}; supported is 1/255")
    mode, size = resizing(config, path, siglip=model_type.startswith("siglip"))
    if size != (image_size, image_size):
        raise ExportError(
            f"{path} makes images of {size[1]} × {size[0]} pixels, and config.json has image_size "
            f"{image_size}"
        )
    resample = config.get("resample", 3)
    if not is_whole(resample, min(INTERPOLATIONS), max(INTERPOLATIONS)):
        raise ExportError(f"{path} has resample {resample!r}; supported are 2 (bilinear) and 3 (bicubic)")
    mean, std = normalization(config, path, siglip=model_type.startswith("siglip"))
    return {
        "size": size,
        "mean": mean,
        "std": std,
        "resize_mode": mode,
        "interpolation": INTERPOLATIONS[int(resample)],
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


def flag(config: Mapping[str, Any], key: str, default: bool, path: Path) -> bool:
    """Returns a setting that is true or false. Raises ExportError for others, such as the text "false"."""
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ExportError(f"{path} has {key} {value!r}; it must be true or false")
    return value


def resizing(config: Mapping[str, Any], path: Path, siglip: bool) -> tuple[str, tuple[int, int]]:
    """Returns open_clip's resize_mode, and height and width of the result."""
    size = config.get("size", {"height": 224, "width": 224} if siglip else {"shortest_edge": 224})
    if isinstance(size, int):
        size = {"height": size, "width": size} if siglip else {"shortest_edge": size}
    crop = config.get("crop_size", 224) if flag(config, "do_center_crop", not siglip, path) else None
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    unreadable = f"{path} has size {size!r} and crop_size {crop!r}; they cannot be read"
    if not isinstance(size, Mapping) or not (crop is None or isinstance(crop, Mapping)):
        raise ExportError(unreadable)
    resized: list[Any] = [size.get(key) for key in (("shortest_edge",) if "shortest_edge" in size else SIDES)]
    cropped = None if crop is None else tuple(crop.get(key) for key in SIDES)
    if not all(is_whole(side, 1, LARGEST_SIDE) for side in (*resized, *(cropped or ()))):
        raise ExportError(unreadable)
    sides = int(resized[0]), int(resized[-1])
    if "shortest_edge" in size:
        if cropped != sides:
            raise ExportError(
                f"{path} resizes the short side to {sides[0]} pixels and crops to "
                f"{cropped and cropped[::-1]}; supported is a crop of the same size"
            )
        return "shortest", sides
    if cropped not in (None, sides):
        raise ExportError(f"{path} crops images after it has resized both sides; that is not supported")
    return "squash", sides


def normalization(
    config: Mapping[str, Any], path: Path, siglip: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and standard deviation of the channels."""
    if not flag(config, "do_normalize", True, path):
        return (0.0,) * 3, (1.0,) * 3
    means, deviations = ((0.5,) * 3, (0.5,) * 3) if siglip else (CLIP_MEAN, CLIP_STD)
    mean = channels(config, "image_mean", means, path)
    std = channels(config, "image_std", deviations, path)
    if min(std) <= 0:
        raise ExportError(f"{path} has image_std {list(std)}; its numbers must be above 0")
    return mean, std


def channels(
    config: Mapping[str, Any], key: str, default: tuple[float, ...], path: Path
) -> tuple[float, ...]:
    """Returns the numbers of the three channels."""
    values = default if config.get(key) is None else config[key]
    if not isinstance(values, (list, tuple)) or len(values) != 3 or not all(map(is_finite, values)):
        raise ExportError(f"{path} has {key} {values!r}; it must be three finite numbers")
    return tuple(map(float, values))
