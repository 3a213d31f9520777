"""The golden file of a model says which texts are longer than the context, whatever its tokenizer."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable

import pytest
from clipserve_exporter.golden import golden_texts, longer_than_context
from clipserve_exporter.source import Source
from clipserve_exporter.tokenization.model_tokenizer import ModelTokenizer
from open_clip.tokenizer import get_clean_fn
from tokenizers import Tokenizer

from testing.tokenizers import Built


@pytest.mark.parametrize(
    "kind", ["siglip", "siglip2", "clipa", "chinese_clip", "xlm_roberta", "roberta", "mt5", "nllb"]
)
def test_texts_with_more_tokens_than_the_context_are_flagged(
    kind: str,
    narrow: Callable[..., Source],
    built: Callable[[str], Built],
    proved: Callable[[str], ModelTokenizer],
) -> None:
    context = built(kind).text_cfg["context_length"]
    source = dataclasses.replace(narrow(), tokenize=proved(kind).encode, context_length=context)
    plain = Tokenizer.from_str(json.loads(gzip.decompress(proved(kind).bundle))["tokenizer"])
    plain.no_truncation()
    plain.no_padding()
    cleaning = get_clean_fn(proved(kind).facts.clean)
    texts = golden_texts(context)
    longer = [len(plain.encode(cleaning(text)).ids) > context for text in texts]
    assert longer_than_context(source, texts).tolist() == longer
    assert longer[-2:] == [True, True]
