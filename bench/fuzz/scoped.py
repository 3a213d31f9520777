"""A token for a few names asks about others': no answer may tell whether these exist.

Each harmed request is sent twice, about names that exist and about names of the same length that do not. The
token may see neither, so both answers must be the same, and the second must not name what exists. Some
requests name things that the token may use as well; then both are denied, or neither is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import grpc
from clipserve import Client
from clipserve_gateway.access.tokens import new_token
from google.protobuf.message import Message

from bench.fuzz.messages import harmed_message
from testing.hostile.sending import OPTIONS, Outcome, send
from testing.hostile.sound import sound
from testing.hostile.world import ALIAS, COLLECTION, KEPT, LABELS

HIDDEN, MISSING, OWN = "hostile", "nowhere", "shop"
"""Beginnings of the names that exist, that do not, and that the token is for."""
GRANT = f"methods=read,write,admin collections={OWN}* labels={OWN}*"
OWN_NAME = f"{OWN}_own"
TIMEOUT = 30.0
MOST_FINDINGS = 50
UNEQUAL = ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED")
"""These depend on what else happens."""


@dataclass(frozen=True)
class Probe:
    """A request, and the same about names that do not exist."""

    method: str
    request: bytes
    twin: bytes
    is_mixed: bool
    """Whether it names something of the token's own too."""


@dataclass
class ScopedReport:
    """One run."""

    probes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def token_lines() -> tuple[list[str], dict[str, str]]:
    """Lines of a token file, and the tokens: `ops` may do everything, `shop` only what is its own."""
    tokens = {"ops": new_token(), "shop": new_token()}
    return [f"ops {tokens['ops']}", f"shop {tokens['shop']} {GRANT}"], tokens


def prepare(address: str, token: str) -> int:
    """Makes what is hidden, and what is the token's own; the dimension of the embeddings."""
    with Client(address, token=token) as client:
        model = client.info().models[0].ref
        for name in (COLLECTION, KEPT, OWN_NAME):
            client.create_collection(name, schema={"name": "string", "year": "int"}, model=model.name)
        client.put_alias(ALIAS, COLLECTION)
        client.put_label_set(LABELS, ["a cat", "a dog"])
        return model.embed_dim


def probe(sounds: Sequence[tuple[str, Message]], chance: Random) -> Probe:
    """A harmed request that names something hidden."""
    while True:
        method, message = chance.choice(sounds)
        request = harmed_message(message, chance) if chance.random() < 0.7 else message
        copy = type(request)()
        copy.CopyFrom(request)
        is_mixed = chance.random() < 0.3 and rename_some(copy, chance)
        data = copy.SerializeToString(deterministic=True)
        twin = data.replace(HIDDEN.encode(), MISSING.encode())
        if twin != data:
            return Probe(method, data, twin, is_mixed)


def rename_some(message: Message, chance: Random) -> bool:
    """Lets some of the hidden names in a message be one of the token's own; whether any is."""
    done = False
    for about, value in message.ListFields():
        if about.message_type is not None and not about.message_type.GetOptions().map_entry:
            for inner in value if about.is_repeated else (value,):
                done |= rename_some(inner, chance)
        elif isinstance(value, str) and value.startswith(HIDDEN) and chance.random() < 0.5:
            setattr(message, about.name, OWN_NAME)
            done = True
    return done


def told(outcome: Outcome, name: str) -> tuple[str, ...]:
    """All that an answer says, without the names that were asked for."""
    parts = (outcome.code, outcome.reason, *outcome.fields, outcome.message, *map(str, outcome.responses))
    return tuple(part.replace(name, "NAME") for part in parts)


def scoped_fault(asked: Probe, there: Outcome, missing: Outcome) -> str:
    """What the two answers tell of the hidden names; empty if nothing."""
    if any(HIDDEN in part for part in told(missing, MISSING)):
        return f"{asked.method} names what the token may not see: {missing}"
    if there.code in UNEQUAL or missing.code in UNEQUAL:
        return ""
    if asked.is_mixed:
        denied = {it.code == "PERMISSION_DENIED" for it in (there, missing)}
        return "" if len(denied) == 1 else f"{asked.method} is denied for one of both: {there}; {missing}"
    if told(there, HIDDEN) != told(missing, MISSING):
        return f"{asked.method} tells whether a name exists: {there}; {missing}"
    return ""


async def fuzz_scoped(
    address: str, token: str, dim: int, pairs: int, seed: int, callers: int
) -> ScopedReport:
    """Sends so many pairs with the token."""
    sounds = [(method, it.request) for method, it in sound(dim).items()]
    sounds = [(method, it) for method, it in sounds if HIDDEN.encode() in it.SerializeToString()]
    report, metadata = ScopedReport(), (("authorization", f"Bearer {token}"),)

    async def call(channel: grpc.aio.Channel) -> None:
        while report.probes < pairs and len(report.findings) < MOST_FINDINGS:
            report.probes += 1
            asked = probe(sounds, Random(f"{seed}/{report.probes}"))
            there, missing = [
                await send(channel, asked.method, data, timeout=TIMEOUT, metadata=metadata)
                for data in (asked.request, asked.twin)
            ]
            report.outcomes[there.reason or there.code] += 1
            if fault := scoped_fault(asked, there, missing):
                report.findings.append(f"{fault[:600]}\n    request {asked.request[:200]!r}")

    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        await asyncio.gather(*(call(channel) for _ in range(callers)))
    return report
