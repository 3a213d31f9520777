"""`clipserve verify` accepts what an export accepts, in every precision."""

from __future__ import annotations

import ast
from pathlib import Path

from clipserve.tools.verification.compare import LEAST, RECORDED, SAME

PARITY = Path(__file__).parents[2] / "exporter" / "clipserve_exporter" / "parity.py"


def parity_bounds() -> dict[str, float]:
    """The exporter's bounds, without importing torch."""
    for node in ast.parse(PARITY.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BOUNDS":
            return ast.literal_eval(node.value)
    raise AssertionError("parity.py has no BOUNDS")


def test_no_precision_is_verified_more_strictly_than_it_is_exported() -> None:
    bounds = parity_bounds()
    assert set(RECORDED) == set(SAME) == set(bounds)
    for precision, bound in bounds.items():
        assert LEAST <= RECORDED[precision] <= bound
        assert RECORDED[precision] <= SAME[precision] <= bound
