"""A bundle is read if it is what the model names, and refused with the reason if not."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import resource
from typing import Any

import pytest
from clipserve_gateway.inputs import tokenizer_bundle
from clipserve_gateway.inputs.huggingface_tokenizer import BadTokenizer
from clipserve_gateway.inputs.tokenizer_bundle import tokenizer_of
from clipserve_gateway.types import TokenizerSpec

from testing.golden_tokenizers import SPECS, bundle, packed

KIND = "clipa"


def pack(content: Any) -> bytes:
    return gzip.compress(json.dumps(content).encode())


def changed(**changes: Any) -> bytes:
    return pack(bundle(KIND) | changes)


def test_a_good_bundle_is_the_tokenizer() -> None:
    [tokens] = tokenizer_of(packed(KIND), SPECS[KIND]).encode(["a photo of a cat"])
    assert len(tokens.ids) > 4


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the compressed file is cut"),
        (packed(KIND)[:-4000], "the compressed file is cut"),
        (packed(KIND) + b"x", "bytes follow its end"),
        (b"these are not bytes of gzip", "not gzip"),
        (gzip.compress(b"{"), "not JSON"),
        (gzip.compress(b"[" * 200_000), "not JSON"),
        (gzip.compress(b'{"tokenizer": "\xff"}'), "not JSON"),
        (pack([1]), "not JSON with"),
        (pack({"tokenizer": "{}"}), "not JSON with"),
        (pack({"tokenizer": "{}", "checks": [1]}), "not JSON with"),
        (pack({"tokenizer": 1, "checks": [{"text": "a", "ids": []}]}), "not begin with `tokenizer`"),
        (pack({"checks": [], "tokenizer": "{}"}), "not begin with `tokenizer`"),
        (pack({"tokenizer": "{}", "checks": [], "more": [{}]}), "not JSON with"),
        (gzip.compress(b'{"tokenizer": "{}", "checks": []'), "does not end after `checks`"),
        (pack({"tokenizer": "{}", "checks": [{"text": 1, "ids": []}]}), "not texts with ids"),
        (changed(checks=[]), "0 `checks`, not 1 to 10,000"),
        (changed(checks=[{"text": "", "ids": []}] * 10_001), "10,001 `checks`, not 1 to 10,000"),
        (
            changed(checks=[{"text": "a dog", "ids": [1, 2]}]),
            "other token ids than the export, for example for 'a dog'",
        ),
        (changed(tokenizer="{}"), "SHA-256"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_refused(content: bytes, complaint: str) -> None:
    with pytest.raises(BadTokenizer, match=complaint):
        tokenizer_of(content, SPECS[KIND])


def test_a_bomb_and_a_huge_file_are_refused_without_their_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_bundle, "MAX_UNPACKED", 1 << 20)
    with pytest.raises(BadTokenizer, match="more than 1,048,576 bytes"):
        tokenizer_of(gzip.compress(bytes(50 << 20)), SPECS[KIND])
    monkeypatch.setattr(tokenizer_bundle, "MAX_PACKED", 100)
    with pytest.raises(BadTokenizer, match="compressed, at most 100 are read"):
        tokenizer_of(packed(KIND), SPECS[KIND])


@pytest.mark.parametrize(
    "content", [b'{"tokenizer": "{}", "checks": [%s{}]}', b'{"checks": [%s{}], "tokenizer": "{}"}']
)
def test_millions_of_checks_are_refused_before_they_are_read(content: bytes) -> None:
    many = gzip.compress(content % (b"{}," * 8_000_000), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadTokenizer, match=r"24,000,006 characters, at most 16,777,216|not begin with"):
        tokenizer_of(many, SPECS[KIND])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 << 10, "KiB; eight million dictionaries take 600 MiB"


def test_a_file_with_its_own_hash_that_the_library_cannot_read_is_refused() -> None:
    definition = json.dumps({"model": {"type": "Magic"}})
    spec = dataclasses.replace(SPECS[KIND], sha256=hashlib.sha256(definition.encode()).hexdigest())
    with pytest.raises(BadTokenizer, match="cannot be read"):
        tokenizer_of(changed(tokenizer=definition), spec)


def test_other_rules_than_those_of_the_export_are_noticed() -> None:
    wrong: TokenizerSpec = dataclasses.replace(SPECS[KIND], strip_id=None)
    with pytest.raises(BadTokenizer, match="other token ids"):
        tokenizer_of(packed(KIND), wrong)
