"""The command as a whole: help, version, start, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys

import click
import pytest
from clipserve import Client
from clipserve.tools.cli import main
from clipserve.tools.cli.stdin import ListOrStdin

COMMANDS = ("info", "classify", "embed", "index", "search", "collections", "evaluate")
COMMANDS += ("labels", "delete", "dedupe", "export", "import", "migrate")


def every_command():
    for name in COMMANDS:
        command = main.commands[name]
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", command.commands[inner]) for inner in command.commands)


@pytest.mark.parametrize(("name", "command"), list(every_command()))
def test_every_command_has_help(run, name, command):
    text = run(*name.split(), "--help").output
    assert text.startswith(f"Usage: clipserve {name}")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_examples_in_the_help_are_real(name):
    command = main.commands[name] if name else main
    lines = (command.help or "").splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith("clipserve ")]
    assert examples
    for example in examples:
        words = shlex.split(example)[1:]
        used = main.commands[words[0]]
        known = {option for parameter in used.params for option in parameter.opts}
        if isinstance(used, click.Group):
            known |= {option for inner in used.commands.values() for p in inner.params for option in p.opts}
        assert {word for word in words if re.match(r"-[-a-z]", word)} <= known, example


def test_exit_codes_are_documented(run):
    assert "4  the server cannot be reached" in run("--help").output


def test_the_version_is_told(run):
    assert run("--version").output.startswith("clipserve 0.")


def test_the_installed_command_runs(server):
    command = [sys.executable, "-c", "from clipserve.tools.cli import main; main()", "info", "--json"]
    environment = os.environ | {"CLIPSERVE_TARGET": server.address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["default_model"] == "fake"


def test_without_its_extra_the_command_says_what_to_install():
    code = "import sys; sys.modules['rich'] = None; from clipserve.tools.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: the command needs rich; install it with: pip install 'clipserve[cli]'\n"


def test_ctrl_c_while_the_command_is_loaded_leaves_no_traceback():
    code = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
from clipserve import Client
from clipserve.tools.cli import main
from clipserve.tools.cli.stdin import ListOrStdin
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("name", ["info", "target"])
def test_ctrl_c_in_a_command_leaves_no_traceback(run, monkeypatch, name):
    def interrupt(*args):
        raise KeyboardInterrupt

    if name == "info":
        monkeypatch.setattr(Client, "info", interrupt)
    else:
        monkeypatch.setattr(ListOrStdin, "convert", interrupt)
    words = ["info"] if name == "info" else ["delete", "-c", "x", "a"]
    assert run(*words, code=130).stderr == "Aborted!\n"


def test_grpcs_own_lines_do_not_precede_the_error(tls_server):
    program = "from clipserve.tools.cli import main; main()"
    target = ["--target", tls_server.address, "--tls", "--timeout", "5"]
    command = [sys.executable, "-c", program, "info", *target]
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("Error: no server answers at")
    assert len(done.stderr.splitlines()) == 1
