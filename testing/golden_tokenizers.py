"""The small tokenizers of tests/golden, with the ids that open_clip gives. Needs no models environment."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from clipserve_gateway.types import TokenizerSpec

FOLDER = Path(__file__).parents[1] / "tests" / "golden" / "tokenizers"
SPECS = {
    kind: TokenizerSpec(**spec) for kind, spec in json.loads((FOLDER / "specs.json").read_text()).items()
}
"""Kind → the tokenizer that is committed in FOLDER."""


def packed(kind: str) -> bytes:
    """The bundle of a tokenizer."""
    return (FOLDER / f"{kind}.json.gz").read_bytes()


def bundle(kind: str) -> dict[str, Any]:
    """The content of a bundle: the `tokenizer.json`, and texts with ids and whether they are truncated."""
    return json.loads(gzip.decompress(packed(kind)))
