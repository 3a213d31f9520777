"""Filters on the wire, checked against the collection's schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clipserve.v1 import common_pb2

from clipserve_gateway.convert.payload import read_value
from clipserve_gateway.errors import InvalidFilter, InvalidPayload, LimitExceeded
from clipserve_gateway.index.values import And, Eq, Filter, In, Not, Or, PayloadType, PayloadValue, Range
from clipserve_gateway.types import Limits

MAX_DEPTH = 16
MAX_PARTS = 100
MAX_VALUES = 1_000
MAX_SIZE = 5_000
"""Of filters and listed values, in all: engines plan for a second and more over some ten thousand."""
BOUNDS = ("gt", "gte", "lt", "lte")


def read_filter(filter: common_pb2.Filter, schema: Mapping[str, PayloadType], limits: Limits) -> Filter:
    """The filter. InvalidFilter, naming the path, where it is malformed or does not fit the schema.

    Raises LimitExceeded for one of too many bytes.
    """
    check_size(filter)
    check_bytes(filter, limits)
    return read_node(filter, schema, "filter", depth=1)


def check_bytes(filter: common_pb2.Filter, limits: Limits) -> None:
    """LimitExceeded for a filter of too many bytes."""
    size = filter.ByteSize()
    if size > limits.max_filter_bytes:
        raise LimitExceeded(
            f"the filter has {size} bytes; at most {limits.max_filter_bytes} are accepted",
            field="filter",
            metadata={"limit": str(limits.max_filter_bytes)},
        )


def check_size(filter: common_pb2.Filter) -> None:
    """InvalidFilter for a filter too large to be worked on; found out without looking at all of it."""
    waiting, seen = [filter], 0
    while waiting:
        node = waiting.pop()
        kind = node.WhichOneof("node")
        parts = getattr(node, kind).filters if kind in ("all_of", "any_of") else ()
        values = len(node.in_list.values) if kind == "in_list" else 0
        seen += 1 + values
        if seen + len(waiting) + len(parts) > MAX_SIZE:
            raise InvalidFilter(f"more than {MAX_SIZE} filters and values in all", field="filter")
        waiting.extend(parts)
        if kind == "negation":
            waiting.append(node.negation)


def read_node(filter: common_pb2.Filter, schema: Mapping[str, PayloadType], field: str, depth: int) -> Filter:
    """One filter with all that is in it."""
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"filters nest at most {MAX_DEPTH} deep", field=field)
    kind = filter.WhichOneof("node")
    path = f"{field}.{kind}"
    if kind == "eq":
        name, wanted = read_field(filter.eq.field, schema, path)
        return Eq(name, read_operand(filter.eq.value, wanted, f"{path}.value"))
    if kind == "in_list":
        name, wanted = read_field(filter.in_list.field, schema, path)
        values = filter.in_list.values
        check_parts(len(values), MAX_VALUES, f"{path}.values")
        operands = (read_operand(value, wanted, f"{path}.values[{i}]") for i, value in enumerate(values))
        return In(name, tuple(operands))
    if kind == "range":
        return read_range(filter.range, schema, path)
    if kind == "negation":
        return Not(read_node(filter.negation, schema, path, depth + 1))
    if kind == "all_of":
        return And(read_parts(filter.all_of.filters, schema, path, depth))
    if kind == "any_of":
        return Or(read_parts(filter.any_of.filters, schema, path, depth))
    raise InvalidFilter("the filter is not set", field=field)


def read_parts(
    filters: Iterable[common_pb2.Filter], schema: Mapping[str, PayloadType], path: str, depth: int
) -> tuple[Filter, ...]:
    """At least one filter."""
    parts = list(filters)
    check_parts(len(parts), MAX_PARTS, f"{path}.filters")
    return tuple(read_node(part, schema, f"{path}.filters[{i}]", depth + 1) for i, part in enumerate(parts))


def read_range(found: common_pb2.RangeFilter, schema: Mapping[str, PayloadType], path: str) -> Range:
    """A range with at least one bound, and no two bounds on one side."""
    name, wanted = read_field(found.field, schema, path)
    if wanted in (PayloadType.BOOL, PayloadType.STRING_LIST):
        raise InvalidFilter(f"field {name!r} of type {wanted.value} has no order", field=f"{path}.field")
    bounds = {
        bound: read_operand(getattr(found, bound), wanted, f"{path}.{bound}")
        for bound in BOUNDS
        if found.HasField(bound)
    }
    if not bounds:
        raise InvalidFilter("set gt, gte, lt or lte", field=path)
    for side in (("gt", "gte"), ("lt", "lte")):
        if all(bound in bounds for bound in side):
            raise InvalidFilter(f"set {side[0]} or {side[1]}, not both", field=f"{path}.{side[0]}")
    return Range(name, **bounds)


def read_field(name: str, schema: Mapping[str, PayloadType], path: str) -> tuple[str, PayloadType]:
    """A field of the schema and its type."""
    if name not in schema:
        known = ", ".join(schema) or "none"
        raise InvalidFilter(
            f"no field {name[:80]!r} in the schema; its fields: {known}", field=f"{path}.field"
        )
    return name, schema[name]


def read_operand(value: common_pb2.Value, wanted: PayloadType, path: str) -> PayloadValue:
    """A value to compare a field with: of its type; one string for a list of strings."""
    if wanted is PayloadType.STRING_LIST:
        wanted = PayloadType.STRING
    try:
        kind, found = read_value(value, path)
    except InvalidPayload as error:
        raise InvalidFilter(error.message, field=path) from None
    if kind is not wanted:
        raise InvalidFilter(f"the value must be of type {wanted.value}, not {kind.value}", field=path)
    return found


def check_parts(count: int, limit: int, path: str) -> None:
    """At least one, and not too many."""
    if not 1 <= count <= limit:
        raise InvalidFilter(f"give 1 to {limit}, not {count}", field=path)
