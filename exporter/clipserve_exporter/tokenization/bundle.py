"""The form in which a tokenizer travels through Triton: gzip of JSON with `tokenizer` and `checks`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from clipserve_exporter.errors import ExportError

MAX_DEFINITION, MAX_BUNDLE = 192 << 20, 64 << 20
"""Bytes. The largest known tokenizers have 60 MB, and 15 MB compressed; gateways refuse larger ones."""

MAX_CHECKS_LENGTH = (16 << 20) - 1024
"""Characters. Gateways read a little more."""


def pack(definition: str, checks: Sequence[Mapping[str, Any]]) -> bytes:
    """Packs the text of a tokenizer.json with texts and their ids; always the same bytes.

    Raises ExportError if it is too large for the gateway.
    """
    content = json.dumps({"tokenizer": definition, "checks": list(checks)}, ensure_ascii=False).encode()
    beside = len(json.dumps(list(checks), ensure_ascii=False))
    if beside > MAX_CHECKS_LENGTH:
        raise ExportError(too_large(f"{beside:,} characters of checks", MAX_CHECKS_LENGTH))
    if len(content) > MAX_DEFINITION:
        raise ExportError(too_large(f"{len(content):,} bytes", MAX_DEFINITION))
    bundle = gzip.compress(content, mtime=0)
    if len(bundle) > MAX_BUNDLE:
        raise ExportError(too_large(f"{len(bundle):,} bytes compressed", MAX_BUNDLE))
    return bundle


def too_large(size: str, most: int) -> str:
    """The message about a tokenizer that is too large."""
    return f"the tokenizer is too large: {size}, at most {most:,} are served"
