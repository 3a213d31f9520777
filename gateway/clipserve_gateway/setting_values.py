"""Reads the values of settings that are more than a number or a word."""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse
from pathlib import Path

HEADER = re.compile(r"([a-z0-9_.-]+):\s*([!-~](?:[ -~]*[!-~])?)")
ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
COLOR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")

SOURCE_SCHEMES = ("file", "s3", "gs")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def parse_endpoints(target: str) -> list[str]:
    """The endpoints in a value like `a:8001,b:8001`. Raises ValueError if one is not HOST:PORT."""
    endpoints = [part.strip().removeprefix("dns:///") for part in target.split(",") if part.strip()]
    if not endpoints:
        raise ValueError("name at least one HOST:PORT")
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if not endpoint.startswith("unix:") and (not host or not port.isdigit()):
            raise ValueError(f"{endpoint!r} is not HOST:PORT")
    return endpoints


def parse_origins(origins: str) -> list[str]:
    """The origins in a value like `https://a.example,http://localhost:3000`; `*` stands for all.

    Raises ValueError for one with a path, or without a scheme.
    """
    parts = [part.strip() for part in origins.split(",") if part.strip()]
    for part in parts:
        if part != "*" and not ORIGIN.fullmatch(part):
            raise ValueError(
                f"{part[:80]!r} is not an origin: write scheme and host in lower case, e.g. https://app.example.com"
            )
    return parts


def parse_source_uri(uri: str) -> tuple[str, str, str]:
    """Scheme, host or bucket, and path without percent encoding, of a file or folder with sources.

    Raises ValueError for parts that are not allowed. A query could redirect the read to another endpoint.
    """
    try:
        parts = urllib.parse.urlsplit(uri)
        path = urllib.parse.unquote(parts.path, errors="strict")
    except ValueError:
        raise ValueError("the URI is not valid") from None
    local = parts.scheme == "file"
    known = parts.scheme in SOURCE_SCHEMES and local != bool(parts.netloc)
    if not known or (local and not path.startswith("/")):
        raise ValueError("give a URI such as file:///folder/1.jpg or s3://bucket/1.jpg")
    if parts.query or parts.fragment or "@" in parts.netloc or ":" in parts.netloc:
        raise ValueError("the URI must not have a query, a fragment, a user or a port")
    if "\0" in path or ".." in path.split("/"):
        raise ValueError("the URI must not have `..` or zero bytes")
    return parts.scheme, parts.netloc, path


def source_prefix(uri: str) -> str:
    """The URI. Raises ValueError, which names it, if no folder with sources can have it."""
    try:
        parse_source_uri(uri)
    except ValueError as error:
        raise ValueError(f"{uri[:80]!r}: {error}") from None
    return uri


def parse_source_prefixes(prefixes: str) -> list[str]:
    """The URIs in a value like `file:///data/photos,s3://bucket/photos`. Raises ValueError."""
    return [source_prefix(part.strip()) for part in prefixes.split(",") if part.strip()]


def parse_color(color: str) -> tuple[int, int, int] | None:
    """Red, green and blue, 0–255, of #RRGGBB; None for `none`. Raises ValueError for another value."""
    if color == "none":
        return None
    parts = COLOR.fullmatch(color)
    if parts is None:
        raise ValueError(f"{color[:80]!r} is not a color: write none, or #RRGGBB, e.g. #ffffff for white")
    return int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)


def parse_log_level(name: str) -> str:
    """The name of a log level in capital letters. Raises ValueError for another word."""
    if name.upper() not in LOG_LEVELS:
        raise ValueError(f"{name[:80]!r} is not a log level: write {', '.join(LOG_LEVELS)}")
    return name.upper()


def readable(path: str) -> str:
    """The path. Raises ValueError if it is not empty and not a readable file."""
    if path and (os.path.isdir(path) or not os.access(path, os.R_OK)):
        raise ValueError(f"{path} is not a file that can be read")
    return path


def read_headers(path: str) -> dict[str, str]:
    """Headers by name, from the lines of a file. Raises ValueError, without the values, for a wrong line."""
    headers: dict[str, str] = {}
    for number, line in enumerate(Path(path).read_text().splitlines() if path else (), 1):
        if line.strip():
            header = HEADER.fullmatch(line.strip())
            if header is None:
                raise ValueError(
                    f"line {number} is not a header: write NAME: VALUE, with the name in lower case"
                )
            headers[header[1]] = header[2]
    return headers


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
