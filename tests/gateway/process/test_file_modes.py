"""Warnings about files that other users of this machine can read or change."""

from __future__ import annotations

import logging
import os

import pytest
from click.testing import CliRunner
from clipserve_gateway.cli import main
from clipserve_gateway.index.engines import open_engine
from clipserve_gateway.local.model_folder import FLAG, RepositoryUnsafe, check_repository
from clipserve_gateway.process.file_modes import create_private_files, others_reach, writable_by_others
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.callers import write_tokens
from testing.fakes import FakeBackend


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "models"
    (folder / "demo_image" / "1").mkdir(parents=True)
    (folder / "demo_image" / "1" / "model.py").write_text("")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_a_repository_of_this_user_is_served(repository):
    assert writable_by_others(repository) == ""
    check_repository(repository, trusted=False)


@pytest.mark.parametrize("path", ["", "demo_image", "demo_image/1", "demo_image/1/model.py"])
def test_a_repository_that_all_can_write_is_refused_with_a_remedy(repository, path):
    (repository / path).chmod(0o777)
    with pytest.raises(RepositoryUnsafe, match=r"all users can write to .* \(mode 0777\).*\n.*chmod -R o-w"):
        check_repository(repository, trusted=False)
    check_repository(repository, trusted=True)


def test_a_repository_in_a_folder_that_all_can_write_is_refused_unless_it_is_sticky(repository):
    parent = repository.parent
    parent.chmod(0o777)
    with pytest.raises(RepositoryUnsafe, match="all users can write to"):
        check_repository(repository, trusted=False)
    parent.chmod(0o1777)
    check_repository(repository, trusted=False)


def test_a_repository_of_another_user_is_refused(repository, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    if os.stat(repository).st_uid == 0:
        os.chown(repository / "demo_image", 1234, -1)
    with pytest.raises(RepositoryUnsafe, match="belongs to another user"):
        check_repository(repository, trusted=False)


def test_a_link_to_a_repository_is_judged_by_where_it_leads(repository, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(repository)
    (repository / "demo_image").chmod(0o777)
    with pytest.raises(RepositoryUnsafe):
        check_repository(link, trusted=False)


def test_up_ends_with_the_sentence_and_has_a_flag_for_it():
    text = CliRunner().invoke(main, ["up", "--help"]).output
    assert FLAG in text


@pytest.mark.parametrize(
    ("mode", "reported"), [(0o600, ""), (0o700, ""), (0o640, "0640"), (0o604, "0604"), (0o644, "0644")]
)
def test_modes_that_let_others_in_are_reported(tmp_path, mode, reported):
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(mode)
    assert others_reach(path) == reported
    assert others_reach(tmp_path / "none") == ""


def test_what_belongs_to_root_and_a_group_is_a_mounted_secret(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(0o440)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert others_reach(path) == ""


async def start_and_stop(settings: Settings) -> None:
    gateway = Gateway(settings, FakeBackend())
    await gateway.start()
    await gateway.stop(drain_seconds=0, grace_seconds=0)


async def test_a_token_file_that_others_may_read_is_told_in_the_log(tmp_path, caplog):
    tokens = write_tokens(tmp_path, "ops")
    settings = Settings(port=0, http_port=0, data=str(tmp_path / "data"), token_file=str(tokens))
    for mode, lines in ((0o644, 1), (0o600, 0)):
        tokens.chmod(mode)
        caplog.clear()
        await start_and_stop(settings)
        messages = [record.getMessage() for record in caplog.records]
        warnings = [message for message in messages if "token_file: other users" in message]
        assert len(warnings) == lines
        assert all("0644" in warning and str(tokens) in warning for warning in warnings)


async def test_files_of_a_store_are_for_their_user_alone(tmp_path, caplog):
    before = os.umask(0o022)
    try:
        create_private_files()
        engine = open_engine(str(tmp_path / "data"))
        await engine.open()
        await engine.put_document("a", b"b", version=0)
        await engine.close()
    finally:
        os.umask(before)
    paths = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert any(path.is_file() for path in paths)
    assert [path for path in paths if path.stat().st_mode & 0o077] == []
    assert "other users" not in caplog.text


async def test_a_folder_of_data_that_others_may_read_is_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    engine = open_engine(str(tmp_path / "data"))
    await engine.open()
    await engine.close()
    assert f"data: other users of this machine can read the folder {tmp_path / 'data'}" in caplog.text


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_secret_on_the_command_line_is_refused_and_not_shown(command):
    result = CliRunner().invoke(main, [command, "--milvus-token", "root:very-secret"])
    assert result.exit_code == 2
    assert "CLIPSERVE_MILVUS_TOKEN" in result.output
    assert "--milvus-token-file" in result.output
    assert "very-secret" not in result.output
    assert "--milvus-token " not in CliRunner().invoke(main, [command, "--help"]).output
