from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner
from clipserve_gateway.access.tokens import digest_of, read_token_file
from clipserve_gateway.cli import main, settings_from
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.local.settings import LocalSettings, LocalTritonSettings
from clipserve_gateway.options import read
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


def test_every_port_of_a_local_triton_is_an_option_with_its_variable(monkeypatch):
    helped = CliRunner().invoke(main, ["up", "--help"]).output.replace("\n", " ")
    for name in LocalTritonSettings.model_fields:
        assert "--" + name.replace("_", "-") + " " in helped
        assert f"CLIPSERVE_{name.upper()}" in helped
        monkeypatch.setenv(f"CLIPSERVE_{name.upper()}", "65536")
        result = CliRunner().invoke(main, ["up"])
        assert (result.exit_code, f"bad setting: {name}" in result.output) == (2, True)
        monkeypatch.setenv(f"CLIPSERVE_{name.upper()}", "0")
    assert set(read(LocalTritonSettings, {"triton_port": 9}).model_dump().values()) == {9, 0}


def test_up_serves_the_api_over_http_and_serve_does_not():
    assert (Settings().api_port, Settings().web) == (None, False)
    assert (LocalSettings().api_port, LocalSettings().web) == (8602, True)
    fields, others = LocalSettings.model_fields, Settings.model_fields
    changed = {name for name, field in fields.items() if field.default != others[name].default}
    assert changed == {"api_port", "web"}
    helped = {command: CliRunner().invoke(main, [command, "--help"]).output for command in ("serve", "up")}
    assert "default: 8602" in helped["up"]
    assert "default: 8602" not in helped["serve"]


def test_an_empty_api_port_turns_it_off_in_up():
    options = CliRunner().invoke(main, ["up", "--api-port", "x"])
    assert "is not a valid integer" in options.output
    assert read(LocalSettings, {"api_port": ""}).api_port is None
    assert read(LocalSettings, {"api_port": 0}).api_port == 0


def test_settings_that_the_gateway_and_its_guard_share_mean_the_same():
    """`up` reads them once for both."""
    for name in Settings.model_fields.keys() & GuardSettings.model_fields.keys():
        ours, theirs = Settings.model_fields[name], GuardSettings.model_fields[name]
        assert ours.annotation == theirs.annotation
        assert ours.default == theirs.default or name in ("triton", "http_port")


def test_the_command_line_wins_over_the_environment_and_that_over_the_default(monkeypatch):
    assert settings_from({"port": None}).port == 8600
    monkeypatch.setenv("CLIPSERVE_PORT", "9000")
    assert settings_from({"port": None}).port == 9000
    assert settings_from({"port": 9001}).port == 9001


def test_a_taken_port_is_told_by_the_command_alone(tmp_path):
    program = "from clipserve_gateway.cli import main; main()"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-c", program, "serve", "--port", port, "--data", str(tmp_path)]
        environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    # gRPC writes lines of its own.
    [line] = [line for line in done.stderr.splitlines() if line.startswith("clipserve-gateway:")]
    assert f"port {port} is taken by pid" in line


def test_a_bad_value_from_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("CLIPSERVE_MAX_TOP_K", "many")
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 2
    assert "max_top_k" in result.output


def test_a_token_is_made_with_the_line_for_the_file(tmp_path):
    words = ["token", "--name", "web", "methods=read", "collections=shop_*,pets"]
    made = CliRunner().invoke(main, words)
    assert made.exit_code == 0
    token = made.stderr.split()[-1]
    assert token not in made.stdout
    (tmp_path / "tokens").write_text(made.stdout)
    grant = read_token_file(str(tmp_path / "tokens")).find(digest_of(token))
    assert (grant.name, grant.collections) == ("web", ("shop_*", "pets"))
    assert CliRunner().invoke(main, words).stdout != made.stdout


def test_a_token_is_written_to_a_file_for_its_owner_alone(tmp_path):
    out = tmp_path / "web.token"
    made = CliRunner().invoke(main, ["token", "--name", "web", "--out", str(out)])
    assert made.exit_code == 0
    assert made.stderr == ""
    assert out.stat().st_mode & 0o777 == 0o600
    token = out.read_text().strip()
    assert digest_of(token).hex() in made.stdout
    again = CliRunner().invoke(main, ["token", "--name", "web", "--out", str(out)])
    assert again.exit_code == 1
    assert "cannot be written (File exists)" in again.output
    assert "sha256" not in again.output, "no line for a token that nobody has"
    assert out.read_text().strip() == token


@pytest.mark.parametrize("words", [["--name", "a b"], ["methods=all"], ["--name", "web", "colections=a"]])
def test_no_token_is_made_for_a_line_that_would_not_be_read(words):
    made = CliRunner().invoke(main, ["token", *words])
    assert made.exit_code == 2
    assert "clipserve_" not in made.output


def test_the_published_limits_are_the_settings():
    settings = Settings(max_labels=7)
    assert settings.limits.max_labels == 7
    assert set(Limits.__dataclass_fields__) <= set(Settings.model_fields)
