"""All weights that open_clip publishes: which can be exported, why others cannot, and their licenses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from clipserve_exporter.errors import ExportError
from clipserve_exporter.open_clip_models import config_of, tag_config
from clipserve_exporter.preprocessing import INTERPOLATIONS, RESIZE_MODES, require
from clipserve_exporter.sources.assumed import values
from clipserve_exporter.sources.licenses import of_hub
from clipserve_exporter.tokenization.folder import require_supported
from clipserve_exporter.tokenization.model_tokenizer import require_plain
from clipserve_exporter.tokenizer_facts import OPENAI
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)


@dataclass(frozen=True)
class Pair:
    """An architecture with published weights."""

    model: str
    pretrained: str
    exportable: bool
    reason: str
    """Why it cannot be exported; empty if it can."""
    license: str
    """As on the Hugging Face hub; `unknown` if it is not known."""
    license_source: str
    hub: str
    """Repository of the weights on the hub; empty if they are elsewhere."""


def pairs() -> Iterator[Pair]:
    """Yields all pairs of the installed open_clip, in its order. Loads no weights."""
    for model, tag in open_clip.list_pretrained():
        config = tag_config(model, tag)
        hub = str(config.get("hf_hub", "")).strip("/")
        license = of_hub(hub)
        reason = obstacle(model, config)
        yield Pair(model, tag, not reason, reason, license.words, license.source, hub)


def obstacle(model: str, weights: dict[str, Any]) -> str:
    """Returns why weights cannot be exported, as far as their configuration tells; empty if nothing does."""
    try:
        text = config_of(model)["text_cfg"]
        if text.get("hf_tokenizer_name"):
            require_supported(text)
        else:
            options = text.get("tokenizer_kwargs") or {}
            require_plain(options, text.get("vocab_size", OPENAI.vocab_size))
        mode, interpolation, _, _ = values(weights)
        require(mode, "resize_mode", RESIZE_MODES)
        require(interpolation, "interpolation", INTERPOLATIONS)
    except ExportError as error:
        return str(error)
    return ""


def listing() -> dict[str, Any]:
    """Returns the list as JSON has it."""
    return {"open_clip": open_clip.__version__, "pairs": [asdict(pair) for pair in pairs()]}


def lines() -> Iterator[str]:
    """Yields the list as a table of plain text."""
    rows = list(pairs())
    columns = [("model", [row.model for row in rows]), ("pretrained", [row.pretrained for row in rows]),
               ("license", [row.license for row in rows])]  # fmt: skip
    widths = [max(map(len, (title, *cells))) for title, cells in columns]
    yield (
        "  ".join(title.ljust(width) for (title, _), width in zip(columns, widths, strict=True)) + "  export"
    )
    for row in rows:
        cells = (row.model, row.pretrained, row.license)
        text = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"{text}  {'yes' if row.exportable else f'no: {row.reason}'}"
    count = sum(row.exportable for row in rows)
    yield f"{count} of {len(rows)} can be exported (open_clip {open_clip.__version__})"
