"""Options that every command has: target, token, TLS."""

from __future__ import annotations

import json

import pytest


def test_options_of_the_server_stand_before_or_after_the_command(run, server, monkeypatch):
    monkeypatch.setenv("CLIPSERVE_TARGET", "127.0.0.1:9")
    assert "fake" in run("--target", server.address, "info").output
    assert "fake" in run("info", "--server", server.address).output
    assert "fake" in run("-s", "127.0.0.1:11", "info", "-s", server.address).output
    assert json.loads(run("--json", "-s", server.address, "collections", "list").stdout) == {
        "collections": []
    }


def test_the_token_is_sent(run, server, monkeypatch):
    run("info", "--token", "secret")
    monkeypatch.setenv("CLIPSERVE_TOKEN", "other")
    run("info")
    sent = [call.metadata.get("authorization") for call in server.seen("GetServerInfo")]
    assert sent == ["Bearer secret", "Bearer other"]


def test_a_token_file_is_sent_and_read_again(run, server, monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    monkeypatch.setenv("CLIPSERVE_TOKEN_FILE", str(file))
    run("info")
    file.write_text("second\n")
    run("info")
    run("info", "--token", "typed")
    monkeypatch.setenv("CLIPSERVE_TOKEN", "other")
    run("--token-file", file, "info")
    sent = [call.metadata.get("authorization") for call in server.seen("GetServerInfo")]
    assert sent == ["Bearer first", "Bearer second", "Bearer typed", "Bearer second"]


def test_two_tokens_are_one_too_many(run, tmp_path):
    file = tmp_path / "token"
    file.write_text("a")
    assert "not both" in run("info", "--token", "b", "--token-file", file, code=2).output
    assert "not both" in run("--token", "b", "info", "--token-file", file, code=2).output


@pytest.mark.parametrize("text", ["", " \n", "two words", "s\u00e9cret-of-mine"])
def test_a_file_without_a_token_is_named(run, tmp_path, text):
    file = tmp_path / "token"
    file.write_text(text)
    output = run("info", "--token-file", file, code=1).output
    assert f"Error: {file} " in output
    assert "words" not in output
    assert "of-mine" not in output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# ours\nweb sha256:{}\n", "lines of the gateway's token file"),
        ("web sha256:{}\nclipserve_s3cret-s3cret\n", "as `clipserve-gateway token --out FILE` writes it"),
        ("sha256:{}", "which a client cannot use"),
        ("web s3cret-s3cret-s3cret methods=read\nops s3cret\n", "without its name, into a file"),
    ],
)
def test_the_gateways_token_file_is_told_from_a_clients(run, tmp_path, text, words):
    file = tmp_path / "token"
    file.write_text(text.format("0b" * 32))
    output = " ".join(run("info", "--token-file", file, code=1).output.split())
    assert words in output
    assert "s3cret" not in output
    assert "0b0b" not in output


@pytest.mark.parametrize("token", ["s3cret with spaces", "s3crét", "s3cret\n"])
def test_a_token_that_cannot_be_sent_is_not_shown(run, token):
    for words in (["info"], ["info", "--json"]):
        result = run(*words, "--token", token, code=2)
        assert "--token" in result.output
        assert "s3cr" not in result.output


def test_tls_is_asked_for_by_any_of_its_options(run, tls_server, authority, tmp_path, monkeypatch):
    ca = authority.write(tmp_path)
    cert, key = authority.issue("client").write(tmp_path)
    server = ("--target", tls_server.address)
    assert "fake" in run("info", *server, "--ca", ca).output
    assert "fake" in run("info", *server, "--tls", "--ca", ca, "--cert", cert, "--key", key).output
    assert "fake" in run("info", *server, "--ca", ca, "--server-name", "localhost").output
    refused = run("info", *server, "--ca", ca, "--server-name", "example.com", code=4).output
    assert "certificate is not for example.com" in refused
    monkeypatch.setenv("CLIPSERVE_CA", ca)
    monkeypatch.setenv("CLIPSERVE_TLS", "1")
    assert "fake" in run("info", *server).output
    assert "--cert and --key must be given together" in run("info", *server, "--cert", cert, code=2).output


def test_a_token_that_leaves_the_machine_in_the_clear_is_warned_of(run, monkeypatch):
    options = ("--target", "192.0.2.1:1", "--timeout", "0.2")
    assert "Warning" not in run("info", *options, code=4).output
    monkeypatch.setenv("CLIPSERVE_TOKEN", "s3cret")
    text = run("info", *options, code=4).stderr
    assert text.splitlines()[0] == "Warning: the token is sent to 192.0.2.1:1 without encryption; use TLS"
    assert "s3cret" not in text
    assert "Warning" not in run("info", *options, "--tls", code=4).output
