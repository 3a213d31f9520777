"""Reads what a model's tokenizer is sent as: gzip of JSON with the `tokenizer.json` and texts to check it."""

from __future__ import annotations

import hashlib
import json
import re
import zlib

from clipserve_gateway.inputs.huggingface_tokenizer import BadTokenizer, HuggingFaceTokenizer
from clipserve_gateway.types import TokenizerSpec

MAX_PACKED = 64 << 20
"""Bytes. The largest known tokenizers have 60 MB, and 15 MB compressed."""
MAX_UNPACKED = 256 << 20
MAX_CHECKS = 10_000
"""An export makes some hundred."""
MAX_CHECKS_LENGTH = 16 << 20
"""Characters. Python needs up to 30 bytes for each."""
BEGIN, BETWEEN = re.compile(r'\s*\{\s*"tokenizer"\s*:\s*"'), re.compile(r'\s*,\s*"checks"\s*:')
GZIP = 31
"""zlib's number for gzip with the largest window."""
SHOWN = 60
"""Most characters of a text in a message."""


def tokenizer_of(packed: bytes, spec: TokenizerSpec) -> HuggingFaceTokenizer:
    """The tokenizer in a bundle, which gives its checks the ids that the export has recorded.

    Takes seconds and holds the interpreter's lock for most of them. Raises BadTokenizer.
    """
    definition, checks = read(unpacked(packed))
    sha256 = hashlib.sha256(definition.encode(errors="surrogatepass")).hexdigest()
    if sha256 != spec.sha256:
        raise BadTokenizer(f"the SHA-256 of tokenizer.json is {sha256}, and the model names {spec.sha256}")
    tokenizer = HuggingFaceTokenizer(definition, spec)
    for (text, ids), tokens in zip(checks, tokenizer.encode([text for text, _ in checks]), strict=True):
        if tokens.ids.tolist() != ids:
            shown = repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
            raise BadTokenizer(f"it gives other token ids than the export, for example for {shown}")
    return tokenizer


def unpacked(packed: bytes) -> bytes:
    """The content. Raises BadTokenizer if it is not gzip, is cut or is too large."""
    if len(packed) > MAX_PACKED:
        raise BadTokenizer(f"it has {len(packed):,} bytes compressed, at most {MAX_PACKED:,} are read")
    stream = zlib.decompressobj(GZIP)
    try:
        content = stream.decompress(packed, MAX_UNPACKED + 1)
    except zlib.error as error:
        raise BadTokenizer(f"it is not gzip, or damaged: {error}") from error
    if len(content) > MAX_UNPACKED:
        raise BadTokenizer(f"it has more than {MAX_UNPACKED:,} bytes")
    if not stream.eof or stream.unused_data:
        raise BadTokenizer("the compressed file is cut" if not stream.eof else "bytes follow its end")
    return content


def read(content: bytes) -> tuple[str, list[tuple[str, list[int]]]]:
    """The text of `tokenizer.json`, and pairs of a text and its ids. Raises BadTokenizer.

    The number of Python objects is bounded: the definition is one text, and the checks are short.
    """
    try:
        definition, checks = parts(content.decode())
        pairs = [(check["text"], check["ids"]) for check in json.loads(checks)]
    except BadTokenizer:
        raise
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise BadTokenizer(
            f"it is not JSON with the text `tokenizer` and then `checks`: {error!r:.200}"
        ) from error
    if not all(isinstance(text, str) and isinstance(ids, list) for text, ids in pairs):
        raise BadTokenizer("its `checks` are not texts with ids")
    if not 1 <= len(pairs) <= MAX_CHECKS:
        raise BadTokenizer(f"it has {len(pairs):,} `checks`, not 1 to {MAX_CHECKS:,}")
    return definition, pairs


def parts(text: str) -> tuple[str, str]:
    """The definition, and the JSON of the checks. Raises ValueError, and BadTokenizer if it is too long."""
    begin = BEGIN.match(text)
    if begin is None:
        raise ValueError("it does not begin with `tokenizer`")
    definition, end = json.JSONDecoder().raw_decode(text, begin.end() - 1)
    between = BETWEEN.match(text, end)
    if between is None:
        raise ValueError("`checks` do not follow")
    length = len(text) - between.end()
    if length > MAX_CHECKS_LENGTH:
        raise BadTokenizer(f"its `checks` have {length:,} characters, at most {MAX_CHECKS_LENGTH:,} are read")
    checks = text[between.end() :].rstrip()
    if not checks.endswith("}"):
        raise ValueError("it does not end after `checks`")
    return str(definition), checks[:-1]
