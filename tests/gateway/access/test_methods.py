"""The table of RPCs holds all that the protos have, and says of each which collections it touches."""

from __future__ import annotations

from operator import attrgetter

import pytest
from clipserve.v1 import clip_pb2, collection_pb2, labels_pb2
from clipserve_gateway.access.authorizer import rpc_of
from clipserve_gateway.access.methods import GROUPS, RPCS, methods_of
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

METHODS = [
    method
    for file in (clip_pb2, collection_pb2, labels_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
UNARY = [method for method in METHODS if not method.client_streaming]
STREAMS = [method for method in METHODS if method.client_streaming]
DEEPEST = 4
"""Messages within messages that are looked into; filters hold filters without end."""
LISTS = {"ListCollections", "ListAliases"}


def name_of(method) -> str:
    return method.name


def naming_fields(message: Descriptor, prefix: str = "") -> set[str]:
    """Paths of the fields that name a collection or an alias, wherever they are in a request."""
    paths = set()
    for field in message.fields:
        path = prefix + field.name
        alias = message.name == "Alias" and field.name == "name"
        if field.name == "collection" or alias:
            paths.add(path)
        elif field.message_type is not None and prefix.count(".") < DEEPEST:
            paths |= naming_fields(field.message_type, path + ".")
    return paths


def test_every_rpc_is_classified():
    names = [method.name for method in METHODS]
    assert len(set(names)) == len(names), "no two services have an RPC of one name"
    assert set(names) == set(RPCS)
    assert set().union(*map(methods_of, GROUPS)) == set(RPCS)


@pytest.mark.parametrize("method", UNARY, ids=name_of)
def test_every_field_that_names_a_collection_is_listed(method):
    expected = naming_fields(method.input_type)
    if method.containing_service.name == "CollectionService" and "name" in method.input_type.fields_by_name:
        expected.add("name")
    rpc = RPCS[method.name]
    assert {*rpc.names, rpc.collection} - {""} == expected
    assert expected or method.containing_service.name != "CollectionService" or method.name in LISTS


def test_every_request_tells_its_rpc_by_its_type():
    for method in METHODS:
        request = GetMessageClass(method.input_type)()
        assert method.input_type.name == f"{method.name}Request"
        assert rpc_of(request) is RPCS[method.name]


@pytest.mark.parametrize("method", UNARY, ids=name_of)
def test_the_fields_are_those_of_the_request(method):
    request, rpc = GetMessageClass(method.input_type)(), RPCS[method.name]
    for field in {*rpc.names, rpc.collection} - {""}:
        assert attrgetter(field)(request) == ""
    if rpc.items:
        assert len(getattr(request, rpc.items)) == 0


@pytest.mark.parametrize("method", STREAMS, ids=name_of)
def test_a_stream_carries_the_requests_of_a_unary_twin_of_its_kind(method):
    twin = method.name.removesuffix("Stream")
    (same,) = (other for other in UNARY if other.name == twin)
    assert method.input_type.fields_by_name["request"].message_type == same.input_type
    assert RPCS[method.name].group == RPCS[twin].group


def test_only_calls_that_change_nothing_are_for_reading():
    verbs = ("Get", "List", "Search", "Scroll", "Count", "Classify", "Prepare", "Embed")
    assert methods_of("read") == {name for name in RPCS if name.startswith(verbs)}
    assert methods_of("write") == {"UpsertPoints", "UpsertPointsStream", "DeletePoints"}
