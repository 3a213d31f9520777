"""Endpoints of the setting, and the addresses behind them."""

from __future__ import annotations

import socket

import pytest
from clipserve_gateway.setting_values import parse_endpoints
from clipserve_gateway.triton.resolver import Resolver, addresses_of


def entry(family: int, *address: object) -> tuple:
    return (family, socket.SOCK_STREAM, 6, "", address)


def test_endpoints_are_told_apart_by_commas():
    assert parse_endpoints("a:8001, dns:///b:8002,[::1]:3,") == ["a:8001", "b:8002", "[::1]:3"]
    assert parse_endpoints("unix:/run/triton.sock") == ["unix:/run/triton.sock"]


@pytest.mark.parametrize("target", ["", " , ", "triton", "triton:", ":8001", "triton:port", "a:1,b"])
def test_what_is_no_endpoint_is_refused(target):
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_endpoints(target)


def test_every_address_of_a_name_counts_once_and_ipv4_goes_first():
    four = [entry(socket.AF_INET, ip, 8001) for ip in ("10.0.0.2", "10.0.0.1", "10.0.0.2")]
    six = [entry(socket.AF_INET6, "::1", 8001, 0, 0)]
    assert addresses_of(four + six) == ["10.0.0.1:8001", "10.0.0.2:8001"]
    assert addresses_of(six) == ["[::1]:8001"]


async def test_an_address_is_not_looked_up(monkeypatch):
    def asked(*_: object) -> None:
        raise AssertionError("there is nothing to look up")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    assert await Resolver("10.0.0.1:8001,[::1]:3").addresses() == ["10.0.0.1:8001", "[::1]:3"]


async def test_a_name_that_cannot_be_looked_up_keeps_its_addresses(monkeypatch):
    resolver = Resolver("localhost:1,127.0.0.1:2,unix:/x")
    first = await resolver.addresses()
    assert first == ["127.0.0.1:1", "127.0.0.1:2", "unix:/x"]

    def unknown(*_: object) -> None:
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert await resolver.addresses() == first
