"""SDK and gateway may not import each other; what both escape is the same."""

from __future__ import annotations

import sys

from clipserve import safe_text as sdk
from clipserve_gateway.process import safe_text as gateway


def test_sdk_and_gateway_escape_the_same_characters():
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert sdk.safe_lines(everything) == gateway.safe_lines(everything)
