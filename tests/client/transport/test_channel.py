from __future__ import annotations

import json

import pytest
from clipserve.transport.channel import Tls, channel_options, target_uri
from clipserve.transport.proxy import is_local


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("localhost:8600", "dns:///localhost:8600"),
        ("gateway.clipserve", "dns:///gateway.clipserve:8600"),
        (" 10.0.0.1:9000 ", "dns:///10.0.0.1:9000"),
        ("[::1]:9000", "dns:///[::1]:9000"),
        ("[::1]", "dns:///[::1]:8600"),
        ("dns:///a:1", "dns:///a:1"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("ipv4:1.2.3.4:5,1.2.3.5:5", "ipv4:1.2.3.4:5,1.2.3.5:5"),
    ],
)
def test_targets_become_uris(target, uri):
    assert target_uri(target) == uri


@pytest.mark.parametrize(
    "target", ["", "http://localhost:8600", "localhost/path", "a:b", "a:0", "a:70000", "::1:8600", "a:"]
)
def test_targets_that_are_no_server_are_refused(target):
    with pytest.raises(ValueError, match=r"write|port"):
        target_uri(target)


def test_calls_go_to_all_addresses_in_turn():
    options = dict(channel_options("dns:///gateway:8600"))
    assert json.loads(options["grpc.service_config"]) == {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": "clipserve.calls"},
    }
    assert options["grpc.keepalive_time_ms"] >= 10_000
    assert "grpc.enable_http_proxy" not in options


def test_this_machine_is_reached_without_a_proxy():
    for host in ("localhost:1", "127.0.0.1:1", "[::1]:1"):
        assert dict(channel_options(f"dns:///{host}"))["grpc.enable_http_proxy"] == 0


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("localhost", True),
        ("localhost:1", True),
        ("127.9.9.9:1", True),
        ("[::1]", True),
        ("[::1]:1", True),
        ("unix:/run/a.sock", True),
        ("unix-abstract:a", True),
        ("ipv4:127.0.0.1:5,127.0.0.2:5", True),
        ("ipv4:127.0.0.1:5,10.0.0.1:5", False),
        ("dns:///localhost:1", True),
        ("dns://8.8.8.8/localhost:1", True),
        ("localhost.example.com:1", False),
        ("127.example.com:1", False),
        ("localhost.:1", True),
        ("a.localhost:1", True),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("gateway", False),
        ("xds:///gateway", False),
    ],
)
def test_what_stays_on_this_machine_is_known(target, local):
    assert is_local(target_uri(target)) is local


def test_the_expected_name_of_a_certificate_can_be_told():
    options = dict(channel_options("dns:///10.0.0.1:1", Tls(server_name="gateway")))
    assert options["grpc.ssl_target_name_override"] == "gateway"


def test_certificate_and_key_go_together(tmp_path):
    with pytest.raises(ValueError, match="needs both certificate and key"):
        Tls(certificate=b"x")
    with pytest.raises(FileNotFoundError):
        Tls(ca=tmp_path / "missing.pem").credentials()
    assert Tls(ca=b"-----BEGIN CERTIFICATE-----").credentials()
