"""TLS with the SDK as the client, and certificates that change while the gateway runs."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from pathlib import Path

import clipserve
import pytest
from click.testing import CliRunner
from clipserve import Client, Tls
from clipserve_gateway.cli import main
from clipserve_gateway.process import watched_files as watching
from clipserve_gateway.process.tls import server_tls
from clipserve_gateway.process.watched_files import BadFile
from clipserve_gateway.settings import Settings
from cryptography.hazmat.primitives import serialization

from testing.certificates import Authority, Pair, serial_of


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def other() -> Authority:
    return Authority("another authority")


def files(folder: Path, pair: Pair, client_ca: Authority | None = None) -> dict[str, str]:
    """Settings for this certificate, whose files are written."""
    certificate, key = pair.write(folder)
    settings = {"tls_certificate": certificate, "tls_key": key}
    return settings | ({"tls_client_ca": client_ca.write(folder, "clients.crt")} if client_ca else {})


def info(gateway, tls: Tls | bool, **options):
    """What a client of that gateway is answered, or the error."""
    with Client(f"localhost:{gateway.port}", tls=tls, timeout=10, retry=None, **options) as client:
        return client.info()


async def served(gateway) -> int:
    """The serial number of the certificate that a new connection gets."""
    address = ("127.0.0.1", gateway.port)
    return serial_of((await asyncio.to_thread(ssl.get_server_certificate, address)).encode())


async def test_who_trusts_the_authority_is_served(serve, authority, tmp_path, caplog):
    caplog.set_level("INFO")
    gateway = await serve(**files(tmp_path, authority.issue()))
    server_info = await asyncio.to_thread(info, gateway, Tls(ca=authority.certificate))
    assert server_info.default_model == "fake"
    assert any(", TLS, no tokens, " in record.getMessage() for record in caplog.records)


async def test_others_are_not(serve, authority, other, tmp_path):
    gateway = await serve(**files(tmp_path, authority.issue()))
    for tls in (Tls(ca=other.certificate), True, False):
        with pytest.raises(clipserve.Unavailable):
            await asyncio.to_thread(info, gateway, tls)


async def test_a_certificate_for_another_host_is_refused_unless_its_name_is_expected(
    serve, authority, tmp_path
):
    gateway = await serve(**files(tmp_path, authority.issue("gateway", ("gateway.example.com",))))
    with pytest.raises(clipserve.Unavailable):
        await asyncio.to_thread(info, gateway, Tls(ca=authority.certificate))
    expecting = Tls(ca=authority.certificate, server_name="gateway.example.com")
    assert (await asyncio.to_thread(info, gateway, expecting)).default_model == "fake"


async def test_with_mtls_clients_need_a_certificate_of_their_authority(
    serve, authority, other, tmp_path, caplog
):
    caplog.set_level("INFO")
    gateway = await serve(**files(tmp_path, authority.issue(), client_ca=other))
    assert any(", TLS with client certificates, " in record.getMessage() for record in caplog.records)
    for pair in (None, authority.issue("client")):
        shown = {"certificate": pair.certificate, "key": pair.key} if pair else {}
        with pytest.raises(clipserve.Unavailable):
            await asyncio.to_thread(info, gateway, Tls(ca=authority.certificate, **shown))
    good = other.issue("client")
    tls = Tls(ca=authority.certificate, certificate=good.certificate, key=good.key)
    assert (await asyncio.to_thread(info, gateway, tls)).default_model == "fake"


async def test_tokens_work_within_tls(serve, authority, tmp_path):
    gateway = await serve("web methods=GetServerInfo", **files(tmp_path, authority.issue()))
    tls = Tls(ca=authority.certificate)
    with pytest.raises(clipserve.Unauthenticated):
        await asyncio.to_thread(info, gateway, tls)
    await asyncio.to_thread(info, gateway, tls, token="web-0123456789abcdef")


async def test_certificates_change_without_a_restart_and_without_a_failed_call(serve, authority, tmp_path):
    """Connections live a second here, so that the running client meets each of the certificates."""
    first, second = authority.issue(), authority.issue()
    gateway = await serve(**files(tmp_path, first), max_connection_age_seconds=1)
    stop = threading.Event()

    def call() -> int:
        """Calls until it is stopped or fails; how often it was answered."""
        tls = Tls(ca=authority.certificate)
        with Client(f"localhost:{gateway.port}", tls=tls, timeout=10) as client:
            answered = 0
            while not stop.wait(0.01):
                client.info()
                answered += 1
            return answered

    calling = asyncio.create_task(asyncio.to_thread(call))
    try:
        assert await served(gateway) == first.serial
        await asyncio.sleep(0.5)
        second.write(tmp_path)
        start = time.monotonic()
        while await served(gateway) != second.serial:
            assert time.monotonic() - start < 5
            await asyncio.sleep(0.05)
        assert time.monotonic() - start < 2
        await asyncio.sleep(1.5)
    finally:
        stop.set()
        answered = await calling
    assert answered > 20


async def test_clients_of_a_new_authority_are_served_without_a_restart(serve, authority, other, tmp_path):
    gateway = await serve(**files(tmp_path, authority.issue(), client_ca=authority))
    good = other.issue("client")
    tls = Tls(ca=authority.certificate, certificate=good.certificate, key=good.key)
    with pytest.raises(clipserve.Unavailable):
        await asyncio.to_thread(info, gateway, tls)
    (tmp_path / "clients.crt").write_bytes(authority.certificate + other.certificate)
    start = time.monotonic()
    while True:
        try:
            await asyncio.to_thread(info, gateway, tls)
            break
        except clipserve.Unavailable:
            assert time.monotonic() - start < 5


async def test_a_broken_certificate_leaves_the_old_one_and_is_told_once(
    serve, authority, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)
    first = authority.issue()
    gateway = await serve(**files(tmp_path, first))
    (tmp_path / "tls.key").write_bytes(authority.issue().key)

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]

    while not told():
        await asyncio.sleep(watching.LOOK_SECONDS)
    await asyncio.sleep(10 * watching.LOOK_SECONDS)
    assert len(told()) == 1
    assert "tls_key" in told()[0]
    assert "is not the key of" in told()[0]
    assert await served(gateway) == first.serial


PAIR = Authority().issue()
ENCRYPTED = serialization.load_pem_private_key(PAIR.key, None).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"password"),
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tls_key": ""}, "tls_key: not set; a certificate and its key"),
        ({"tls_certificate": ""}, "tls_certificate: not set; a certificate and its key"),
        ({"tls_certificate": "missing"}, "tls_certificate: missing cannot be read (No such file"),
        ({"tls_key": "missing"}, "tls_key: missing cannot be read (No such file"),
        ({"tls_client_ca": "missing"}, "tls_client_ca: missing cannot be read (No such file"),
        ({"tls_certificate": b"no PEM"}, "tls_certificate: {} does not hold a certificate in PEM format"),
        ({"tls_certificate": PAIR.key}, "tls_certificate: {} does not hold a certificate in PEM format"),
        ({"tls_key": b"no PEM"}, "tls_key: {} does not hold a private key in PEM format"),
        ({"tls_key": ENCRYPTED}, "tls_key: {} does not hold a private key in PEM format without a password"),
        ({"tls_key": Authority().issue().key}, "tls_key: {} is not the key of"),
        ({"tls_client_ca": b"no PEM"}, "tls_client_ca: {} does not hold a certificate in PEM format"),
        ({"tls_client_ca": ""}, ""),
        ({"tls_certificate": "", "tls_key": ""}, "tls_client_ca: tls_certificate and tls_key must be set"),
    ],
)
def test_a_bad_setting_is_named(tmp_path, change, words):
    chosen = files(tmp_path, PAIR, client_ca=Authority())
    for name, value in change.items():
        if isinstance(value, bytes):
            (tmp_path / name).write_bytes(value)
            value = str(tmp_path / name)
        chosen[name] = value
    if not words:
        assert server_tls(Settings(**chosen)) is not None
        return
    with pytest.raises(BadFile) as raised:
        server_tls(Settings(**chosen))
    assert words.format(chosen[words.partition(":")[0]]) in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--tls-certificate", "a.pem"],
            "clipserve-gateway: tls_key: not set; a certificate and its key must",
        ),
        (["--token-file", "missing"], "clipserve-gateway: token_file: missing cannot be read"),
    ],
)
def test_the_command_ends_with_a_sentence(options, words):
    done = CliRunner().invoke(main, ["serve", "--port", "0", "--http-port", "0", *options])
    assert done.exit_code == 1
    assert words in done.output
