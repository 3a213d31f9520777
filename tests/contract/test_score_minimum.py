"""The command and the gateway agree on how many points it takes to judge scores."""

from __future__ import annotations

from clipserve.tools.cli import search_output
from clipserve_gateway.collection import score_statistics


def test_the_command_knows_the_gateways_minimum() -> None:
    assert search_output.MIN_POINTS == score_statistics.MIN_POINTS
