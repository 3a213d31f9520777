"""What docs/security.md says, on a real gateway: its commands as they are, and no secret in the log."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import clipserve
import pytest
from clipserve import Client, Tls, TokenFile

from testing.service import BIN, ROOT, Gateway, start_gateway

BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "security.md").read_text(), re.DOTALL)
LATE = "late-0123456789abcdef"


def paste(folder: Path, script: str) -> None:
    """Runs what the guide says, as somebody who pastes it."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@dataclass
class Guarded:
    """A gateway as the guide sets it up: TLS, clients' certificates, tokens."""

    gateway: Gateway
    folder: Path

    @property
    def port(self) -> str:
        return self.gateway.address.rpartition(":")[2]

    def path(self, name: str) -> Path:
        return self.folder / name

    def token(self, name: str) -> str:
        return self.path(f"{name}.token").read_text().strip()

    def client(self, token: str | TokenFile | None, **changes) -> Client:
        files = {"ca": "ca.crt", "certificate": "client.crt", "key": "client.key"} | changes
        tls = Tls(**{name: self.path(file) for name, file in files.items() if file})
        return Client(f"localhost:{self.port}", tls=tls, token=token, timeout=10, retry=None)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the CLI, with files named as in the guide."""
        command = [BIN / "clipserve", *words, "--target", f"localhost:{self.port}", "--timeout", "10"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    for block in BLOCKS:
        if block.startswith("openssl") or "clipserve-gateway token" in block:
            paste(folder, block)
    files = {"tls-certificate": "tls.crt", "tls-key": "tls.key", "tls-client-ca": "ca.crt"}
    files["token-file"] = "tokens"
    options = [word for name, file in files.items() for word in (f"--{name}", str(folder / file))]
    gateway = start_gateway("127.0.0.1:1", str(folder / "data"), folder, "--log-level", "DEBUG", *options)
    yield Guarded(gateway, folder)
    if gateway.process.poll() is None:
        gateway.stop()


MUTUAL = ("--ca", "ca.crt", "--cert", "client.crt", "--key", "client.key")


def test_the_command_line_gets_in_with_what_the_guide_made(guarded):
    done = guarded.run("collections", *MUTUAL, "--token-file", "web.token", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"collections": []' in done.stdout


def test_the_command_line_says_what_is_missing_and_no_secret(guarded):
    wrong = "wrong-0123456789abcdef"
    for words, code, sentence in (
        ((*MUTUAL, "--token", wrong), 1, "does not accept this token"),
        ((*MUTUAL, "--token", wrong, "--json"), 1, "UNAUTHENTICATED"),
        (("--ca", "ca.crt", "--token-file", "web.token"), 4, "no server answers"),
    ):
        done = guarded.run("info", *words)
        assert done.returncode == code, done.stderr
        assert sentence in done.stderr
        assert wrong not in done.stdout + done.stderr
        assert guarded.token("web") not in done.stdout + done.stderr


def test_a_token_does_what_its_line_says_and_no_more(guarded):
    with guarded.client(TokenFile(guarded.path("ops.token"))) as ops:
        assert list(ops.list_collections()) == []
        with pytest.raises(clipserve.CollectionNotFound):
            ops.delete_collection("shop_pets")
    with guarded.client(guarded.token("web")) as web:
        with pytest.raises(clipserve.PermissionDenied, match="may not call DeleteCollection") as raised:
            web.delete_collection("shop_pets")
        assert raised.value.metadata == {"method": "DeleteCollection"}
        with pytest.raises(clipserve.PermissionDenied, match="may not use collection 'secret'"):
            web.get_collection("secret")
        with pytest.raises(clipserve.CollectionNotFound):
            web.get_collection("shop_pets")


def test_a_token_comes_and_goes_while_the_gateway_runs(guarded):
    file = guarded.path("tokens")
    lines = file.read_text()

    def allowed() -> bool:
        try:
            client.list_collections()
        except clipserve.Unauthenticated:
            return False
        return True

    def seconds_until(expected: bool) -> float:
        start = time.monotonic()
        while allowed() is not expected:
            assert time.monotonic() - start < 10
            time.sleep(0.05)
        return time.monotonic() - start

    with guarded.client(LATE) as client:
        assert not allowed()
        file.write_text(lines + f"late {LATE} methods=ListCollections\n")
        assert seconds_until(True) < 2.5
        file.write_text(lines)
        assert seconds_until(False) < 2.5


def test_plaintext_and_strangers_are_refused(guarded):
    token = guarded.token("web")
    with (
        Client(f"localhost:{guarded.port}", token=token, timeout=3, retry=None) as plain,
        pytest.raises(clipserve.Unavailable),
    ):
        plain.info()
    with (
        guarded.client(token, certificate="", key="") as nobody,
        pytest.raises(clipserve.Unavailable),
    ):
        nobody.info()


def test_the_whole_log_holds_no_secret(guarded):
    """The last test here: good and bad calls have been made, files were read again, and now it stops."""
    broken = guarded.path("tokens").read_text()
    guarded.path("tokens").write_text(broken + f"oops {LATE} {LATE}\n")
    log = guarded.folder / "gateway.log"
    end = time.monotonic() + 10
    while "stays in use" not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    assert guarded.gateway.stop() == 0
    words = log.read_text()
    assert "TLS with client certificates, tokens, metrics" in words
    for token in ("web", "ops"):
        assert f'"token": "{token}"' in words, "its name is there"
    keys = [
        line
        for name in ("tls.key", "client.key", "ca.key")
        for line in guarded.path(name).read_text().splitlines()
        if "-----" not in line
    ]
    secrets = [LATE, "wrong-0123456789abcdef", guarded.token("web"), guarded.token("ops"), *keys]
    assert len(secrets) > 8
    assert [secret for secret in secrets if secret in words] == []
