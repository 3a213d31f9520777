"""The bundle: the same bytes each time, and not too large."""

from __future__ import annotations

import gzip
import json

import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.tokenization import bundle
from clipserve_exporter.tokenization.bundle import pack

CHECKS = [{"text": "é 😀", "ids": [1, 2]}]


def test_it_is_gzip_of_json_without_a_time() -> None:
    packed = pack('{"a": "ü"}', CHECKS)
    assert json.loads(gzip.decompress(packed)) == {"tokenizer": '{"a": "ü"}', "checks": CHECKS}
    assert packed == pack('{"a": "ü"}', CHECKS)
    assert packed[4:8] == bytes(4)


@pytest.mark.parametrize(
    ("limit", "sentence"), [("MAX_DEFINITION", "bytes, at most 10"), ("MAX_BUNDLE", "compressed")]
)
def test_a_tokenizer_that_gateways_refuse_is_refused(
    limit: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, limit, 10)
    with pytest.raises(ExportError, match=sentence):
        pack("{}", CHECKS)
