"""Makes the golden tokenizers: small ones of every kind, with the ids that open_clip's HFTokenizer gives.
XLM-V's is of the same kind as XLM-RoBERTa's.

Run it with the models' environment: `.venv-models/bin/python tests/golden/make_tokenizers.py`. Each file of
`tokenizers/` is what a model's tokenizer is sent as; `specs.json` has the parameters of the text towers.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from make import SPELLED, STRINGS  # noqa: E402
from open_clip.tokenizer import HFTokenizer  # noqa: E402

from testing.tokenizers import CORPUS, KINDS, build  # noqa: E402

LONG = [
    "猫" * 9_000,
    "dog " * 5_000,
    "é" * 9_000,
    "<pad>" * 3_000,
    "</s> " * 3_000,
    "[SEP] dog [MASK]",
    "\u0301" * 500,
]
TEXTS = list(dict.fromkeys([*STRINGS, *SPELLED, *CORPUS, *LONG]))


def main() -> None:
    """Writes tokenizers/ anew."""
    folder = HERE / "tokenizers"
    folder.mkdir(exist_ok=True)
    specs: dict[str, Any] = {}
    for kind in KINDS.keys() - {"xlm_v"}:
        with tempfile.TemporaryDirectory() as built:
            content, specs[kind] = golden(kind, Path(built))
        text = json.dumps(content, ensure_ascii=True).encode()
        (folder / f"{kind}.json.gz").write_bytes(gzip.compress(text, mtime=0))
    (folder / "specs.json").write_text(json.dumps(specs, indent=1, sort_keys=True) + "\n")


def golden(kind: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bundle and the specification of a tokenizer of a kind."""
    made = build(kind, folder / kind)
    settings, context = made.text_cfg["tokenizer_kwargs"], made.text_cfg["context_length"]
    tokenizer = HFTokenizer(made.text_cfg["hf_tokenizer_name"], context_length=context, **settings)
    own = tokenizer.tokenizer
    definition = own.backend_tokenizer.to_str()
    strip_id = own.sep_token_id if tokenizer.strip_sep_token else None
    cleaned = [tokenizer.clean_fn(text) for text in TEXTS]
    rows = own(cleaned, truncation=True, max_length=context).input_ids
    counts = [len(row) for row in own(cleaned).input_ids]
    checks = [
        {"text": text, "ids": [0 if i == strip_id else i for i in row], "truncated": count > context}
        for text, row, count in zip(TEXTS, rows, counts, strict=True)
    ]
    # The rows are those of HFTokenizer itself, without its padding.
    for row, check in zip(tokenizer(TEXTS).tolist(), checks, strict=True):
        padding = 0 if own.pad_token_id == strip_id else own.pad_token_id
        assert row == check["ids"] + [padding] * (context - len(check["ids"])), (kind, check["text"])
    spec = {
        "context_length": context,
        "kind": "huggingface",
        "sha256": hashlib.sha256(definition.encode()).hexdigest(),
        "clean": settings.get("clean", "whitespace"),
        "pad_id": own.pad_token_id,
        "strip_id": strip_id,
        "vocab_size": made.text_cfg["vocab_size"],
    }
    return {"tokenizer": definition, "checks": checks}, spec


if __name__ == "__main__":
    main()
