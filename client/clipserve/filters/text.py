"""Conditions on payloads as text: `category == "cat" and year >= 2020`.

Python's own parser builds the tree, so precedence and quoting are Python's. Only a few kinds of nodes are
accepted, and nothing is evaluated.
"""

from __future__ import annotations

import ast
import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from clipserve.filters import scan
from clipserve.filters.conditions import And, Eq, Filter, In, Not, Or, Range, flatten, require_filter
from clipserve.types import PayloadValue
from clipserve.wire.payload import INT64, parse_timestamp

MAX_DEPTH = 16
"""Nesting depth of and, or and not that servers accept."""
TRUTHS = {"true": True, "false": False}
SIGNS: dict[type[ast.cmpop], str] = {ast.Lt: "lt", ast.LtE: "lte", ast.Gt: "gt", ast.GtE: "gte"}
MIRRORED = {"lt": "gt", "lte": "gte", "gt": "lt", "gte": "lte"}
"""5 < year means year > 5."""
UNORDERED = ("bool", "string_list")
EXAMPLES = {
    "string": "a string in quotes",
    "int": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "timestamp": 'a timestamp such as "2024-05-01" or "2024-05-01T12:00:00Z"',
    "string_list": "a string in quotes",
}
Schema: TypeAlias = Mapping[str, str]


def to_filter(filter: Filter | str | None) -> Filter | None:
    """The filter that a caller passes as a filter or text. Raises TypeError or ValueError."""
    if filter is None:
        return None
    return parse_filter(filter) if isinstance(filter, str) else require_filter(filter)


def parse_filter(text: str, schema: Mapping[str, str] | None = None) -> Filter:
    """Parses a condition: `category == "cat" and (year >= 2020 or "beach" in tags)`.

    Supported are the comparisons ==, !=, <, <=, > and >=, chains (`2010 <= year < 2020`), `in [...]`,
    `not in`, `"beach" in tags` for lists of strings, `and`, `or`, `not` and parentheses. Values are strings
    in quotes, numbers, true, false, and timestamps: `timestamp("2024-05-01")`, in UTC without a time zone.

    With a schema (types by field, as in Collection.schema), values are converted to their field's type: a
    string to a timestamp, a whole number to a double. Without one, a value has the type of its literal.

    Raises ValueError for anything else; its message has the column and what to write instead.
    """
    line = scan.scan(text)
    try:
        # With parentheses, the text is one expression even if it begins with spaces.
        tree = ast.parse(f"({line})", mode="eval")
    except SyntaxError as error:
        column = max(1, min(len(text), (error.offset or 1) - 1))
        hint = "this is not a condition; write FIELD == VALUE, joined by and, or, not"
        raise scan.error_at(column, hint) from None
    except (ValueError, MemoryError, RecursionError):
        raise ValueError("the filter is too complex; simplify it") from None
    return Reader(line, schema).condition(tree.body, 1)


class Reader:
    """Converts one syntax tree."""

    def __init__(self, line: str, schema: Schema | None) -> None:
        self._bytes = line.encode(errors="surrogatepass")
        self._schema = schema

    def error(self, node: ast.expr, message: str) -> ValueError:
        """The error, with the node's column."""
        # col_offset counts bytes, and the parenthesis in front of the text.
        before = self._bytes[: max(0, node.col_offset - 1)]
        return scan.error_at(len(before.decode(errors="replace")) + 1, message)

    def condition(self, node: ast.expr, depth: int) -> Filter:
        """The filter of a node and its children."""
        if depth > MAX_DEPTH:
            raise self.error(node, f"and, or and not nest at most {MAX_DEPTH} deep; simplify it")
        if isinstance(node, ast.BoolOp):
            return self.joined(node, depth)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Not(self.condition(node.operand, depth + 1))
        if isinstance(node, ast.Compare):
            return self.comparison(node, depth)
        if is_field(node):
            name = self.field(node)
            raise self.error(
                node, f"{name} alone is not a condition; write {name} == true, or another comparison"
            )
        raise self.error(node, "this is not a condition; write FIELD == VALUE")

    def joined(self, node: ast.BoolOp, depth: int) -> Filter:
        """`and` or `or`. Nested parts of the same kind become one list."""
        kind = And if isinstance(node.op, ast.And) else Or
        joined: list[Filter] = []
        for value in node.values:
            # A part of the same kind adds no depth: its parts join this list.
            same = isinstance(value, ast.BoolOp) and isinstance(value.op, type(node.op))
            part = self.condition(value, depth if same else depth + 1)
            joined.extend(flatten(part, kind))
        return kind(tuple(joined))

    def comparison(self, node: ast.Compare, depth: int) -> Filter:
        """One comparison, or a chain such as `2010 <= year < 2020`."""
        sides = [node.left, *node.comparators]
        filters = [
            self.single_comparison(left, op, right)
            for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        if len(filters) == 1:
            return filters[0]
        first, second = filters[0], filters[1]
        if len(filters) == 2 and isinstance(first, Range) and isinstance(second, Range):
            low, high = sorted((first, second), key=is_upper)
            if low.field == high.field and not is_upper(low) and is_upper(high):
                return Range(low.field, **(low.bounds() | high.bounds()))
        if depth >= MAX_DEPTH:
            raise self.error(node, f"and, or and not nest at most {MAX_DEPTH} deep; simplify it")
        return And(tuple(filters))

    def single_comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Filter:
        """One comparison of a field and a value."""
        if isinstance(op, ast.In | ast.NotIn):
            membership = self.membership(left, right)
            return Not(membership) if isinstance(op, ast.NotIn) else membership
        if is_field(left) == is_field(right):
            what = "two fields"
            if not is_field(left):
                # An error about an invalid value helps more than one about two values.
                self.literal(left)
                self.literal(right)
                what = "two values"
            raise self.error(right, f"compare a field with a value, not {what}; put strings in quotes")
        at_left = is_field(left)
        field = self.field(left if at_left else right)
        kind = self.kind(left if at_left else right, field)
        value = self.value(right if at_left else left, field, kind)
        if isinstance(op, ast.Eq):
            return Eq(field, value)
        if isinstance(op, ast.NotEq):
            return Not(Eq(field, value))
        sign = SIGNS.get(type(op))
        if sign is None:
            raise self.error(right, "compare with ==, !=, <, <=, >, >= or in")
        if kind in UNORDERED or isinstance(value, bool):
            raise self.error(left, f"field {field} of type {kind or 'bool'} has no order; use ==, != or in")
        bounds: dict[str, Any] = {sign if at_left else MIRRORED[sign]: value}
        return Range(field, **bounds)

    def membership(self, left: ast.expr, right: ast.expr) -> Filter:
        """`field in [...]`, or `"text" in field` for lists of strings."""
        if is_field(left) and isinstance(right, ast.List | ast.Tuple):
            field = self.field(left)
            kind = self.kind(left, field)
            if not right.elts:
                raise self.error(right, "the list is empty; give at least one value")
            return In(field, tuple(self.value(item, field, kind) for item in right.elts))
        if is_field(left) or not is_field(right):
            raise self.error(right, 'write FIELD in ["a", "b"], or "a" in FIELD for a list of strings')
        field = self.field(right)
        kind = self.kind(right, field)
        if kind not in (None, "string_list"):
            raise self.error(right, f"field {field} of type {kind} is not a list; compare it with ==")
        value = self.value(left, field, kind)
        if not isinstance(value, str):
            raise self.error(left, "lists have only strings; put strings in quotes")
        return Eq(field, value)

    def field(self, node: ast.expr) -> str:
        """The name of a field: a name, or field("any name")."""
        if isinstance(node, ast.Name):
            return node.id
        return self.argument(node, "field", 'field("name")')

    def kind(self, node: ast.expr, field: str) -> str | None:
        """The field's type; None without a schema."""
        if self._schema is None:
            return None
        if field not in self._schema:
            known = ", ".join(self._schema) or "none"
            raise self.error(node, f"the collection has no field {field[:80]!r}; its fields are {known}")
        return self._schema[field]

    def value(self, node: ast.expr, field: str, kind: str | None) -> PayloadValue:
        """A value, converted to the field's type if that is known."""
        value = self.literal(node)
        if kind is None:
            return value
        if kind == "timestamp" and isinstance(value, str):
            return self.timestamp(node, value)
        if kind == "double" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        types: dict[str, type] = {"int": int, "double": float, "bool": bool, "timestamp": dt.datetime}
        if type(value) is not types.get(kind, str):
            raise self.error(
                node, f"field {field} has type {kind}; give {EXAMPLES.get(kind, 'another value')}"
            )
        return value

    def literal(self, node: ast.expr) -> str | int | float | bool | dt.datetime:
        """A literal: a string, a number, true, false or timestamp("...")."""
        if isinstance(node, ast.Name) and node.id in TRUTHS:
            return TRUTHS[node.id]
        if isinstance(node, ast.Call):
            return self.timestamp(node, self.argument(node, "timestamp", 'timestamp("2024-05-01")'))
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign = -1 if isinstance(node.op, ast.USub) else 1
            node = node.operand
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bool):
                raise self.error(node, "only numbers have a sign")
        constant = node.value if isinstance(node, ast.Constant) else None
        if isinstance(constant, str | bool):
            return constant
        if not isinstance(constant, int | float):
            raise self.error(node, "this is not a value; write a string in quotes, a number, true or false")
        number = sign * constant
        if isinstance(number, int) and number not in INT64:
            raise self.error(node, "the number does not fit into 64 bits")
        if not math.isfinite(number):
            raise self.error(node, "the number is too large")
        return number

    def timestamp(self, node: ast.expr, text: str) -> dt.datetime:
        """A timestamp in ISO 8601."""
        try:
            return parse_timestamp(text)
        except ValueError:
            raise self.error(
                node, f"{text[:40]!r} is not a timestamp; write {EXAMPLES['timestamp']}"
            ) from None

    def argument(self, node: ast.expr, name: str, example: str) -> str:
        """The single string argument of a call of this name."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            given = node.args[0] if len(node.args) == 1 else None
            if node.func.id == name and isinstance(given, ast.Constant) and isinstance(given.value, str):
                return given.value
        raise self.error(node, f"write {example}; other calls are not supported")


def is_field(node: ast.expr) -> bool:
    """Whether the node is a field, not a value."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "field"
    return isinstance(node, ast.Name) and node.id not in TRUTHS


def is_upper(bounds: Range) -> bool:
    """Whether the range has an upper bound."""
    return bounds.lt is not None or bounds.lte is not None
