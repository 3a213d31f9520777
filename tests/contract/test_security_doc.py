"""docs/security.md says what the code does: its groups, words, settings and commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import clipserve.tools.cli
import clipserve_gateway.cli
import pytest
from clipserve_gateway.access.methods import GROUPS, methods_of
from clipserve_gateway.access.tokens import OPTIONS, read_token_file
from clipserve_gateway.settings import Settings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "security.md").read_text()
COMMANDS = {"clipserve": clipserve.tools.cli.main, "clipserve-gateway": clipserve_gateway.cli.main}


def commands() -> list[list[str]]:
    """Every command of ours in its shell blocks, as words."""
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("clipserve")]
    return [shlex.split(line) for line in lines]


def test_the_groups_are_those_of_the_code():
    for group in GROUPS:
        (listed,) = re.findall(rf"^\| `{group}` \| (.*) \|$", GUIDE, re.MULTILINE)
        assert set(listed.split(", ")) == methods_of(group)


def test_the_words_of_a_line_are_those_of_the_code():
    assert re.findall(r"^\| `(\w+)=` \|", GUIDE, re.MULTILINE) == list(OPTIONS)


def test_the_example_of_a_token_file_can_be_read(tmp_path):
    (example,) = re.findall(r"```text\n(# NAME.*?)```", GUIDE, re.DOTALL)
    hashes = iter(["a" * 64, "b" * 64])
    text = re.sub(r"sha256:\w+…\S.*?…", lambda _: f"sha256:{next(hashes)}", example)
    (tmp_path / "tokens").write_text(text)
    grants = [grant for _, grant in read_token_file(str(tmp_path / "tokens")).entries]
    assert [grant.name for grant in grants] == ["ops", "web", "laptop"]
    assert [grant.sees_all for grant in grants] == [True, False, True]


def test_every_setting_that_is_named_exists():
    named = {name.removeprefix("CLIPSERVE_").lower() for name in re.findall(r"CLIPSERVE_[A-Z_]+", GUIDE)}
    clients = {"token", "token_file"}
    assert named - clients <= set(Settings.model_fields)
    assert {"admin_rpcs", "reflection", "triton_headers_file", "source_prefixes"} <= named


@pytest.mark.parametrize("words", commands(), ids=shlex.join)
def test_every_command_and_option_exists(words):
    command = COMMANDS[words[0]].commands[words[1]]
    known = [command, *getattr(command, "commands", {}).values()]
    options = {name for it in known for parameter in it.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
