"""The README promises what is there: targets, commands, options, files and settings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import clipserve.cli
import clipserve_gateway.cli
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = {"clipserve": clipserve.cli.main, "clipserve-gateway": clipserve_gateway.cli.main}


def shell_lines() -> list[list[str]]:
    """Every command of every shell block, as words."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for words in shell_lines() if words[0] == "make"}
    assert named >= {"demo", "serve", "test", "lint", "protos"}
    assert named <= targets


@pytest.mark.parametrize("words", [words for words in shell_lines() if words[0] in COMMANDS], ids=shlex.join)
def test_every_command_and_option_exists(words):
    command = COMMANDS[words[0]].commands[words[1]]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= options


def test_every_model_is_exported_before_a_command_names_it():
    """A person tries the lines in the order in which they stand."""
    exported, named = set(), set()
    for words in shell_lines():
        if words[0].endswith("clipserve-export"):
            exported.add(words[words.index("--model") + 1].lower())
        elif words[0] == "clipserve":
            wanted = {words[i + 1] for i, word in enumerate(words) if word in ("--model", "--to-model")}
            assert wanted <= exported, words
            named |= wanted
    assert named


def test_every_option_of_the_exporter_exists():
    source = (ROOT / "exporter" / "clipserve_exporter" / "cli.py").read_text()
    lines = [words for words in shell_lines() if words[0].endswith("clipserve-export")]
    used = {word for words in lines for word in words if word.startswith("--")}
    assert used
    assert all(f'"{option}"' in source for option in used)


def test_every_link_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_setting_that_is_named_exists():
    declared = (clipserve_gateway.cli.Settings, clipserve_gateway.cli.LocalTritonSettings)
    settings = {f"CLIPSERVE_{name.upper()}" for kind in declared for name in kind.model_fields}
    assert set(re.findall(r"CLIPSERVE_[A-Z_]+", README)) <= settings
