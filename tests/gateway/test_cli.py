from __future__ import annotations

import pytest
from click.testing import CliRunner
from clipserve_gateway.cli import main, settings_from
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import Limits


@pytest.mark.parametrize("command", ["serve", "up"])
def test_every_setting_is_an_option_with_its_variable(command):
    helped = CliRunner().invoke(main, [command, "--help"]).output.replace("\n", " ")
    for name in Settings.model_fields:
        if not (command == "up" and name == "triton"):
            assert "--" + name.replace("_", "-") in helped
            assert f"CLIPSERVE_{name.upper()}" in helped


@pytest.mark.parametrize("command", ["guard", "up"])
def test_every_setting_of_the_guard_is_an_option_with_its_variable(command):
    helped = CliRunner().invoke(main, [command, "--help"]).output.replace("\n", " ")
    for name in GuardSettings.model_fields:
        if not (command == "up" and name == "triton"):
            assert "--" + name.replace("_", "-") + " " in helped
            assert f"CLIPSERVE_{name.upper()}" in helped


def test_settings_that_the_gateway_and_its_guard_share_mean_the_same():
    """`up` reads them once for both."""
    for name in Settings.model_fields.keys() & GuardSettings.model_fields.keys():
        ours, theirs = Settings.model_fields[name], GuardSettings.model_fields[name]
        assert ours.annotation is theirs.annotation
        assert ours.default == theirs.default or name in ("triton", "http_port")


def test_the_command_line_wins_over_the_environment_and_that_over_the_default(monkeypatch):
    assert settings_from({"port": None}).port == 8600
    monkeypatch.setenv("CLIPSERVE_PORT", "9000")
    assert settings_from({"port": None}).port == 9000
    assert settings_from({"port": 9001}).port == 9001


def test_a_bad_value_from_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("CLIPSERVE_MAX_TOP_K", "many")
    found = CliRunner().invoke(main, ["serve"])
    assert found.exit_code == 2
    assert "max_top_k" in found.output


def test_the_published_limits_are_the_settings():
    settings = Settings(max_labels=7)
    assert settings.limits.max_labels == 7
    assert set(Limits.__dataclass_fields__) <= set(Settings.model_fields)
