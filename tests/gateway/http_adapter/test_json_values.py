from __future__ import annotations

import base64

import pytest
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.http_adapter.json_values import PIECE, decode_base64, read_bytes

LONG = bytes(range(256)) * (PIECE // 128)


@pytest.mark.parametrize(
    "data", [b"", b"a", b"ab", b"abc", b"\xfb\xef\xbe\xff", LONG, LONG + b"a", LONG + b"ab"]
)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
def test_base64_is_read_in_both_alphabets_padded_or_not(data, encode, padded):
    text = encode(data).decode()
    assert decode_base64(text if padded else text.rstrip("=")) == data


@pytest.mark.parametrize(
    "text",
    [
        *(
            "%",
            "a",
            "aaaaa",
            "=",
            "====",
            "a===",
            "ab=c",
            "YWJj=",
            "YW=Jj",
            "YWJj\n",
            " YWJj",
            "YWJjé",
            "YW\x00j",
        ),
        "A" * PIECE + "=" * 4 + "AAAA",
        "A" * (PIECE - 1) + "=" + "AAAA",
        "A" * PIECE + "%%%%",
        "data:image/png;base64,YWJj",
    ],
)
def test_base64_with_rubbish_is_refused(text):
    with pytest.raises(InvalidInput, match="content is not base64") as refused:
        read_bytes(text, "image.content")
    assert refused.value.field == "image.content"
