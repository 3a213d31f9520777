"""Requests over HTTP that are harmed: their JSON, their compression, their headers and their paths."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
import httpx
from google.protobuf import json_format

from bench.fuzz.mutate import harmed, odd_text
from bench.fuzz.run import afterwards
from bench.fuzz.target import Target
from testing.hostile.sending import METHODS, OPTIONS
from testing.hostile.sound import sound
from testing.hostile.world import KEPT, build

TIMEOUT = 30.0
"""Seconds for one request; one that takes longer hangs."""
MOST_FINDINGS = 20
PROMISED = {200, 204, 400, 404, 405, 409, 413, 415, 429, 501}
"""Statuses that an answer may have; 504 too, if the request sets a deadline."""
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1, 10**300, 1e308),
    *("", "a", "NaN", "-Infinity", "1", "1e3", "%", "====", "AA==", "é" * 100, "\x00", "\u2028", "../.."),
    *([], {}, [None], [[]], [{}], {"": None}, {"a": {}}, [0] * 1_000, ["x"] * 1_000),
)
ODD_HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("content-type", ("", "text/plain", "application/json;charset=utf-16", "application/grpc", "a/b", "{}")),
    ("content-encoding", ("gzip", "br", "identity", "deflate", "gzip, gzip", "")),
    ("accept-encoding", ("gzip", "*", "gzip;q=0", "br;q=1.0, gzip;q=zero", ",,,;q", "identity;q=0")),
    ("connect-timeout-ms", ("0", "1", "9999999999", "99999999999", "-1", "1.5", "one", "")),
    ("connect-protocol-version", ("1", "2", "", "v1")),
    ("x-request-id", ("a" * 200, "", "é", "\x80")),
    ("x-clipserve-priority", ("bulk", "urgent", "")),
    ("x-clipserve-bytes", ("0", "99999999999", "-5", "many")),
    ("authorization", ("Bearer x", "Basic eDp5", "")),
    ("origin", ("https://evil.example", "null", "")),
    ("expect", ("100-continue",)),
)
ODD_PATHS = (
    *("/", "/v1", "/v1/models/", "/clipserve.v1.", "/..%2f..%2fetc/passwd"),
    *("/clipserve.v1.ClipService/%00", "/%2e%2e/%2e%2e/etc/passwd", "//evil.example/"),
)


@dataclass
class HttpReport:
    """What came of one run."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0


@dataclass(frozen=True)
class Request:
    """One request, and how to show it."""

    verb: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.verb} {self.path} {dict(self.headers)} {self.body[:200]!r} ({len(self.body)} bytes)"


class Requests:
    """Makes requests of a seed and a number, the same for the same."""

    def __init__(self, seed: int, dim: int) -> None:
        self._seed = seed
        unary = {name: it.request for name, it in sound(dim).items() if not METHODS[name].client_streaming}
        self._sound = {name: json_format.MessageToDict(request) for name, request in unary.items()}
        self._texts = [json.dumps(document).encode() for document in self._sound.values()]
        self._openai = {"model": "demo", "input": ["a cat", {"text": "a dog"}], "encoding_format": "base64"}

    def make(self, number: int) -> Request:
        """The request of that number."""
        chance = Random(f"{self._seed}/{number}")
        method = chance.choice(list(self._sound))
        path, document = f"/clipserve.v1.{method}", self._sound[method]
        if chance.random() < 0.15:
            path, document = "/v1/embeddings", self._openai
        headers, verb = {"content-type": "application/json"}, "POST"
        way = chance.randrange(10)
        if way < 4:
            document = copy.deepcopy(document)
            for _ in range(chance.choice((1, 1, 2, 4))):
                document = harmed_document(document, chance)
        body = json.dumps(document, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
        if 4 <= way < 7:
            body = harmed(body, self._texts, chance)
        elif way == 7:
            packed = gzip.compress(body, mtime=0)
            body = harmed(packed, [packed], chance) if chance.random() < 0.7 else packed
            headers["content-encoding"] = "gzip"
        elif way == 8:
            for name, values in chance.sample(ODD_HEADERS, chance.randint(1, 4)):
                headers[name] = chance.choice(values)
        elif way == 9:
            path = chance.choice((path + "/", path.lower(), path[: chance.randint(1, len(path))], *ODD_PATHS))
            verb = chance.choice(("POST", "GET", "PUT", "OPTIONS", "HEAD", "DELETE"))
        return Request(verb, path, headers, body)


def harmed_document(document: Any, chance: Random) -> Any:
    """The document with one value, key or element changed somewhere."""
    if isinstance(document, dict) and document and chance.random() < 0.8:
        key = chance.choice(list(document))
        value = document.pop(key)
        change = chance.randrange(8)
        if change == 0:
            key = chance.choice((key.upper(), key + "x", odd_text(chance), ""))
        elif change == 1:
            document[chance.choice(("extra", key + "_"))] = copy.deepcopy(value)
        if change != 2:
            document[key] = value if change < 2 else harmed_document(value, chance)
        return document
    if isinstance(document, list) and document and chance.random() < 0.8:
        at = chance.randrange(len(document))
        document[at] = harmed_document(document[at], chance)
        return document * chance.choice((1, 1, 1, 2, 50)) if len(document) < 100 else document
    return odd_text(chance) if chance.random() < 0.3 else copy.deepcopy(chance.choice(ODD_VALUES))


def fault(request: Request, answer: httpx.Response) -> str:
    """What is wrong with an answer; empty if nothing."""
    if answer.status_code not in PROMISED | ({504} if "connect-timeout-ms" in request.headers else set()):
        return f"status {answer.status_code}: {answer.text[:300]}"
    if (
        answer.is_success
        or request.verb == "HEAD"
        or not answer.headers["content-type"].startswith("application/json")
    ):
        return ""
    error = answer.json()
    if "error" in error:
        return "" if error["error"]["message"] and error["error"]["code"] else f"no message or code: {error}"
    info = [detail["debug"] for detail in error["details"] if detail["type"] == "google.rpc.ErrorInfo"]
    if not (error["code"] and error["message"] and info and info[0]["reason"]):
        return f"no code, message or reason: {error}"
    return f"a message of {len(error['message'])} characters" if len(error["message"]) > 1_100 else ""


async def fuzz_http(url: str, dim: int, cases: int, seed: int, callers: int) -> HttpReport:
    """Sends so many requests, some at a time."""
    requests, report, numbers = Requests(seed, dim), HttpReport(), iter(range(cases))
    limits = httpx.Limits(max_connections=callers)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, limits=limits) as http:

        async def call() -> None:
            for number in numbers:
                if len(report.findings) >= MOST_FINDINGS:
                    return
                request = requests.make(number)
                began = time.monotonic()
                try:
                    answer = await http.request(
                        request.verb,
                        request.path,
                        headers={name: value.encode("latin-1") for name, value in request.headers.items()},
                        content=request.body,
                    )
                    wrong = fault(request, answer)
                    report.statuses[answer.status_code] += 1
                except (httpx.HTTPError, ValueError, KeyError, UnicodeError) as error:
                    wrong = f"{type(error).__name__}: {error}"
                report.sent += 1
                report.slowest = max(report.slowest, time.monotonic() - began)
                if wrong:
                    report.findings.append(f"{wrong}\n    number {number} of seed {seed}: {request}")

        await asyncio.gather(*(call() for _ in range(callers)))
        answer = await http.post("/clipserve.v1.CollectionService/CountPoints", json={"collection": KEPT})
        if answer.json() != {"count": "4"}:
            report.findings.append(f"the kept collection has changed: {answer.text[:300]}")
    return report


async def measure_http(target: Target, cases: int, seed: int, callers: int) -> HttpReport:
    """Builds the world over gRPC, sends the requests, and looks at the gateway afterwards."""
    async with grpc.aio.insecure_channel(target.address, options=OPTIONS) as channel:
        world = await build(channel)
        report = await fuzz_http(target.api, world.dim, cases, seed, callers)
        report.findings += await afterwards(target, world, channel)
    return report
