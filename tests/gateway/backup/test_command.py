"""The commands `clipserve-gateway backup` and `restore`."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from clipserve_gateway.cli import main

from testing.filled_store import Store


def test_the_commands_say_what_they_did(tmp_path):
    async def fill():
        await (await Store(tmp_path / "data").fill()).close()

    def invoke(*words):
        return CliRunner().invoke(main, [str(word) for word in words])

    asyncio.run(fill())
    done = invoke("backup", tmp_path / "b", "--data", tmp_path / "data")
    assert done.exit_code == 0, done.output
    assert "2 collections with 62 points, 1 aliases, 1 label sets" in done.output
    done = invoke("restore", tmp_path / "b", "--check", "--json")
    assert json.loads(done.stdout)["collections"] == {"moving": 4, "pets": 58}
    done = invoke("restore", tmp_path / "b", "--data", tmp_path / "new", "--json")
    assert json.loads(done.stdout)["points"] == 62
    done = invoke("restore", tmp_path / "b", "--data", tmp_path / "new")
    assert (done.exit_code, "is not empty" in done.output) == (1, True)
    for words in (("backup", tmp_path / "c"), ("restore", tmp_path / "b")):
        done = invoke(*words, "--data", "milvus://127.0.0.1:1")
        assert done.exit_code == 1
        assert "Milvus's own tools" in done.output


@pytest.mark.slow
def test_a_backup_that_is_stopped_leaves_nothing_behind(tmp_path):
    async def fill():
        await (await Store(tmp_path / "data").fill()).close()

    asyncio.run(fill())
    # Slow enough to be stopped in between.
    code = (
        "import time\n"
        "from clipserve_gateway.index.lance import backup as lance_backup\n"
        "count = lance_backup.data_bytes\n"
        "def data_bytes(dataset):\n"
        "    print('copying', flush=True)\n"
        "    time.sleep(1)\n"
        "    return count(dataset)\n"
        "lance_backup.data_bytes = data_bytes\n"
        "from clipserve_gateway.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", code, "backup", tmp_path / "b", "--data", tmp_path / "data"]
    for sent in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline() == b"copying\n"
        process.send_signal(sent)
        _, words = process.communicate(timeout=60)
        assert process.returncode == 1
        assert b"Aborted!" in words
        assert b"Traceback" not in words
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
