"""The audit log of a gateway over real gRPC: each attempted change and each refusal is a line."""

from __future__ import annotations

import json
import stat

import grpc
import pytest
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from clipserve_gateway.access.audit_log import MAX_IDS
from clipserve_gateway.access.methods import methods_of
from clipserve_gateway.process.watched_files import BadFile

from testing.callers import send
from testing.wire import refusal

NAMED = {"time", "level", "logger"}
CHANGES = (methods_of("write") | methods_of("admin")) - {"UpsertPointsStream"}
"""Batches of a stream are told as UpsertPoints."""


@pytest.fixture
def lines(tmp_path):
    def read(*leave_out: str) -> list[dict]:
        entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        return [
            {key: entry[key] for key in entry if key not in NAMED | {"request_id", *leave_out}}
            for entry in entries
        ]

    return read


@pytest.fixture
async def ops(serve, calls, tmp_path):
    gateway = await serve("ops", "web methods=read", audit_log=str(tmp_path / "audit.jsonl"))
    caller = calls(gateway, "ops")
    caller.gateway = gateway
    return caller


def points(*ids: str) -> list[collection_pb2.PointInput]:
    return [collection_pb2.PointInput(id=id, text=f"a photo of {id}") for id in ids]


async def test_changes_are_told_with_who_what_and_how_many(ops, lines):
    await send(ops, "CreateCollection", name="pets")
    await send(ops, "UpsertPoints", collection="pets", points=points("a", "b"))
    await send(ops, "PutAlias", alias=collection_pb2.Alias(name="best", collection="pets"))
    await send(ops, "DeletePoints", collection="best", ids=["a"])
    await send(ops, "DeleteAlias", name="best")
    entries = lines("peer", "model")
    assert all(entry.pop("token") == "ops" and entry.pop("outcome") == "OK" for entry in entries)
    assert entries == [
        {"message": "CreateCollection", "collection": "pets"},
        {"message": "UpsertPoints", "collection": "pets", "count": 2, "ids": ["a", "b"], "refused": 0},
        {"message": "PutAlias", "alias": "best", "before": "", "after": "pets"},
        {"message": "DeletePoints", "collection": "pets", "count": 1, "ids": ["a"], "deleted": 1},
        {"message": "DeleteAlias", "alias": "best"},
    ]


async def test_label_sets_are_told_with_their_versions(ops, lines):
    for names in (["cat"], ["cat", "dog"]):
        await send(ops, "PutLabelSet", name="pets", labels=clip_pb2.LabelSet(names=names))
    await send(ops, "DeleteLabelSet", ref=clip_pb2.LabelSetRef(name="pets"))
    entries = lines("peer", "token", "outcome")
    assert [entry.get("after", entry.get("deleted")) for entry in entries] == [1, 2, 2]


async def test_a_change_that_fails_is_told_with_its_reason(ops, lines):
    await refusal(send(ops, "DeleteCollection", name="nothing"))
    [entry] = lines("peer")
    assert entry == {
        "message": "DeleteCollection",
        "token": "ops",
        "collection": "nothing",
        "outcome": "COLLECTION_NOT_FOUND",
    }


async def test_calls_that_are_refused_are_told_with_peer_and_reason(ops, calls, lines):
    await refusal(send(calls(ops.gateway), "GetServerInfo"))
    await refusal(send(calls(ops.gateway, "web"), "DeleteCollection", name="pets"))
    stranger, web = lines()
    assert (stranger["outcome"], stranger["method"]) == ("UNAUTHENTICATED", "GetServerInfo")
    assert stranger["peer"].startswith("ipv4:127.0.0.1:")
    assert (web["outcome"], web["token"]) == ("PERMISSION_DENIED", "web")


async def test_payloads_texts_and_tokens_are_never_told(ops, tmp_path):
    schema = [collection_pb2.PayloadField(name="color", type=common_pb2.PAYLOAD_TYPE_STRING)]
    await send(ops, "CreateCollection", name="pets", schema=schema)
    secret = collection_pb2.PointInput(id="a", text="hidden text")
    secret.payload["color"].string_value = "hidden color"
    await send(ops, "UpsertPoints", collection="pets", points=[secret])
    content = (tmp_path / "audit.jsonl").read_text()
    assert "UpsertPoints" in content
    assert "hidden" not in content
    assert "0123456789abcdef" not in content


async def test_of_many_ids_the_first_are_told_and_the_number(ops, lines):
    await send(ops, "CreateCollection", name="pets")
    await send(ops, "DeletePoints", collection="pets", ids=[f"{n:03}" for n in range(MAX_IDS + 1)])
    last = lines()[-1]
    assert (last["count"], len(last["ids"]), last["deleted"]) == (MAX_IDS + 1, MAX_IDS, 0)


async def upsert_stream(caller, *ids: str) -> int:
    """Sends a batch of one point for each id; returns the number of answers."""
    batches = [
        collection_pb2.UpsertPointsStreamRequest(
            batch_id=n, request=collection_pb2.UpsertPointsRequest(collection="pets", points=points(id))
        )
        for n, id in enumerate(ids)
    ]
    path = "/clipserve.v1.CollectionService/UpsertPointsStream"
    stream = caller.channel.stream_stream(
        path, collection_pb2.UpsertPointsStreamRequest.SerializeToString, bytes
    )(iter(batches), metadata=caller.metadata)
    return len([answer async for answer in stream])


async def test_each_batch_of_a_stream_is_told(ops, lines):
    await send(ops, "CreateCollection", name="pets")
    assert await upsert_stream(ops, "a", "b") == 2
    told = [line["ids"] for line in lines() if line["message"] == "UpsertPoints"]
    assert sorted(told) == [["a"], ["b"]]


async def test_each_refused_batch_of_a_stream_is_told(serve, calls, lines, tmp_path):
    gateway = await serve("web collections=web_*", audit_log=str(tmp_path / "audit.jsonl"))
    assert await upsert_stream(calls(gateway, "web"), "a", "b") == 2
    told = [(line["message"], line["method"], line["token"], line["outcome"]) for line in lines()]
    assert told == [("refused", "UpsertPointsStream", "web", "PERMISSION_DENIED")] * 2


async def test_every_rpc_that_changes_something_is_told(ops, lines):
    requests = {
        "PutAlias": {"alias": collection_pb2.Alias(name="best", collection="pets")},
        "PutLabelSet": {"name": "pets", "labels": clip_pb2.LabelSet(names=["cat"])},
        "DeleteLabelSet": {"ref": clip_pb2.LabelSetRef(name="nothing")},
        "UpsertPoints": {"collection": "pets", "points": points("a")},
        "DeletePoints": {"collection": "pets", "ids": ["a"]},
    }
    by_name = {"CreateCollection", "DeleteCollection", "PurgeCollection", "DeleteAlias"}
    await send(ops, "CreateCollection", name="pets")
    for name in [*sorted(CHANGES - {"DeleteCollection"}), "DeleteCollection"]:
        fields = requests.get(name) or {"name" if name in by_name else "collection": "pets"}
        code = await send(ops, name, **fields).code()
        assert code is not grpc.StatusCode.INVALID_ARGUMENT, name
    assert {it["message"] for it in lines()} == CHANGES


async def test_the_file_is_for_its_owner_alone_and_is_opened_anew_when_moved(ops, tmp_path):
    path = tmp_path / "audit.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(tmp_path / "audit.jsonl.1")
    await send(ops, "CreateCollection", name="pets")
    assert "pets" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_lines_that_cannot_be_written_are_counted_and_calls_go_on(serve, calls):
    gateway = await serve("ops", audit_log="/dev/full")
    await send(calls(gateway, "ops"), "CreateCollection", name="pets")
    assert gateway.metrics.registry.get_sample_value("clipserve_audit_failures_total") == 1


async def test_standard_output_can_take_the_lines(serve, calls, capsys):
    gateway = await serve("ops", audit_log="-")
    await send(calls(gateway, "ops"), "CreateCollection", name="pets")
    assert json.loads(capsys.readouterr().out)["message"] == "CreateCollection"


async def test_a_file_that_cannot_be_opened_is_named_at_the_start(serve, tmp_path):
    path = str(tmp_path / "nothing" / "audit.jsonl")
    with pytest.raises(BadFile, match=r"audit_log: .*nothing"):
        await serve(audit_log=path)
