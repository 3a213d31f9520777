"""Filters in protobuf, validated against the collection's schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clipserve.v1 import clip_pb2, collection_pb2, common_pb2

from clipserve_gateway.convert.common import check_limit
from clipserve_gateway.convert.payload import read_value, unknown_field
from clipserve_gateway.errors import InvalidFilter, InvalidPayload
from clipserve_gateway.index.values import And, Eq, Filter, In, Not, Or, PayloadType, PayloadValue, Range
from clipserve_gateway.types import Limits

Schema = Mapping[str, PayloadType]

MAX_DEPTH = 16
MAX_PARTS = 100
MAX_VALUES = 1_000
MAX_NODES = 5_000
"""Filters and listed values in total: engines need over a second to plan a query of ten thousand."""
BOUNDS = ("gt", "gte", "lt", "lte")


def read_optional_filter(
    request: clip_pb2.SearchRequest | collection_pb2.CountPointsRequest | collection_pb2.ScrollPointsRequest,
    schema: Schema,
    limits: Limits,
) -> Filter | None:
    """The request's filter; None if it has none."""
    return read_filter(request.filter, schema, limits) if request.HasField("filter") else None


def read_filter(filter: common_pb2.Filter, schema: Schema, limits: Limits) -> Filter:
    """The filter. Raises InvalidFilter with the path if it is malformed or does not match the schema.

    Raises LimitExceeded if it has more bytes than allowed.
    """
    check_nodes(filter)
    size = "the size of the filter in bytes"
    check_limit(size, filter.ByteSize(), limits.max_filter_bytes, "filter")
    return read_node(filter, schema, "filter", depth=1)


def check_nodes(filter: common_pb2.Filter) -> None:
    """Raises InvalidFilter if the filter has more than MAX_NODES filters and values; stops counting there."""
    waiting, seen = [filter], 0
    while waiting:
        node = waiting.pop()
        kind = node.WhichOneof("node")
        parts = getattr(node, kind).filters if kind in ("all_of", "any_of") else ()
        values = len(node.in_list.values) if kind == "in_list" else 0
        seen += 1 + values
        if seen + len(waiting) + len(parts) > MAX_NODES:
            raise InvalidFilter(
                f"the filter has more than {MAX_NODES} filters and values in total", field="filter"
            )
        waiting.extend(parts)
        if kind == "negation":
            waiting.append(node.negation)


def read_node(filter: common_pb2.Filter, schema: Schema, field: str, depth: int) -> Filter:
    """One filter with everything in it."""
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"filters can be nested at most {MAX_DEPTH} levels deep", field=field)
    kind = filter.WhichOneof("node")
    path = f"{field}.{kind}"
    if kind == "eq":
        name, expected = read_field(filter.eq.field, schema, path)
        return Eq(name, read_operand(filter.eq.value, expected, f"{path}.value"))
    if kind == "in_list":
        name, expected = read_field(filter.in_list.field, schema, path)
        values = filter.in_list.values
        check_length("values", len(values), MAX_VALUES, f"{path}.values")
        operands = (read_operand(value, expected, f"{path}.values[{i}]") for i, value in enumerate(values))
        return In(name, tuple(operands))
    if kind == "range":
        return read_range(filter.range, schema, path)
    if kind == "negation":
        return Not(read_node(filter.negation, schema, path, depth + 1))
    if kind == "all_of":
        return And(read_parts(filter.all_of.filters, schema, path, depth))
    if kind == "any_of":
        return Or(read_parts(filter.any_of.filters, schema, path, depth))
    raise InvalidFilter(
        "the filter is not set: set one of eq, in_list, range, negation, all_of and any_of", field=field
    )


def read_parts(
    filters: Iterable[common_pb2.Filter], schema: Schema, path: str, depth: int
) -> tuple[Filter, ...]:
    """The parts of all_of or any_of: at least one filter."""
    parts = list(filters)
    check_length("filters", len(parts), MAX_PARTS, f"{path}.filters")
    return tuple(read_node(part, schema, f"{path}.filters[{i}]", depth + 1) for i, part in enumerate(parts))


def read_range(range: common_pb2.RangeFilter, schema: Schema, path: str) -> Range:
    """A range with at least one bound and at most one bound per side."""
    name, expected = read_field(range.field, schema, path)
    if expected in (PayloadType.BOOL, PayloadType.STRING_LIST):
        raise InvalidFilter(
            f"field {name!r} has type {expected.value}, which has no order", field=f"{path}.field"
        )
    bounds = {
        bound: read_operand(getattr(range, bound), expected, f"{path}.{bound}")
        for bound in BOUNDS
        if range.HasField(bound)
    }
    if not bounds:
        raise InvalidFilter("set gt, gte, lt or lte", field=path)
    for side in (("gt", "gte"), ("lt", "lte")):
        if all(bound in bounds for bound in side):
            raise InvalidFilter(f"set {side[0]} or {side[1]}, not both", field=f"{path}.{side[0]}")
    return Range(name, **bounds)


def read_field(name: str, schema: Schema, path: str) -> tuple[str, PayloadType]:
    """A field of the schema and its type."""
    if name not in schema:
        raise InvalidFilter(unknown_field(name, schema), field=f"{path}.field")
    return name, schema[name]


def read_operand(value: common_pb2.Value, expected: PayloadType, path: str) -> PayloadValue:
    """A value to compare a field with: of the field's type; a string for a list of strings."""
    if expected is PayloadType.STRING_LIST:
        expected = PayloadType.STRING
    try:
        kind, operand = read_value(value, path)
    except InvalidPayload as error:
        raise InvalidFilter(error.message, field=path) from None
    if kind is not expected:
        raise InvalidFilter(f"the value must have type {expected.value}, not {kind.value}", field=path)
    return operand


def check_length(what: str, count: int, limit: int, path: str) -> None:
    """Raises InvalidFilter for an empty or too long list."""
    if not 1 <= count <= limit:
        raise InvalidFilter(f"the list has {count} {what}; give 1 to {limit}", field=path)
