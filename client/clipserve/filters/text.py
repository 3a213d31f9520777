"""Conditions on payloads as text: `category == "cat" and year >= 2020`.

Python's own parser makes the tree, so that precedence and quoting are what people know; of its nodes only
a few are let through, and nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from clipserve.filters import scan
from clipserve.filters.conditions import And, Eq, Filter, In, Not, Or, Range, checked, parts
from clipserve.types import PayloadValue
from clipserve.wire.payload import INT64, read_moment

MAX_DEPTH = 16
"""Of and, or and not in one another: what servers accept."""
TRUTHS = {"true": True, "false": False}
SIGNS: dict[type[ast.cmpop], str] = {ast.Lt: "lt", ast.LtE: "lte", ast.Gt: "gt", ast.GtE: "gte"}
TURNED = {"lt": "gt", "lte": "gte", "gt": "lt", "gte": "lte"}
"""5 < year is year > 5."""
UNORDERED = ("bool", "string_list")
EXAMPLES = {
    "string": "a string in quotes",
    "int": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "timestamp": 'a moment such as "2024-05-01" or "2024-05-01T12:00:00Z"',
    "string_list": "a string in quotes",
}
Schema: TypeAlias = Mapping[str, str]


def to_filter(filter: Filter | str | None) -> Filter | None:
    """The condition that a caller gave, as a filter or as text; TypeError or ValueError for others."""
    if filter is None:
        return None
    return parse_filter(filter) if isinstance(filter, str) else checked(filter)


def parse_filter(text: str, schema: Mapping[str, str] | None = None) -> Filter:
    """The condition that a text says: `category == "cat" and (year >= 2020 or "beach" in tags)`.

    Comparisons (==, !=, <, <=, >, >=, also chained: `2010 <= year < 2020`), `in [...]`, `not in`,
    `"beach" in tags` for lists of strings, `and`, `or`, `not` and parentheses. Values are strings in quotes,
    numbers, true and false, and moments: `timestamp("2024-05-01")`, UTC where no zone is named.

    With a schema (types by field, as in Collection.schema) values are read as their field's type: a string
    as a moment, a whole number as a double. Without one they are of the type that they look like.

    Raises ValueError, which says where and what to write instead, for anything else.
    """
    line = scan.scan(text)
    try:
        # Brackets make the text one expression wherever it begins.
        tree = ast.parse(f"({line})", mode="eval")
    except SyntaxError as error:
        column = max(1, min(len(text), (error.offset or 1) - 1))
        hint = "this is no condition; write FIELD == VALUE, joined by and, or, not"
        raise scan.wrong(column, hint) from None
    except (ValueError, MemoryError, RecursionError):
        raise ValueError("the filter cannot be read; simplify it") from None
    return Reader(line, schema).condition(tree.body, 1)


class Reader:
    """Reads one tree."""

    def __init__(self, line: str, schema: Schema | None) -> None:
        self._bytes = line.encode(errors="surrogatepass")
        self._schema = schema

    def error(self, node: ast.expr, message: str) -> ValueError:
        """The error, at the node's column."""
        # The parser counts bytes, and the bracket that was put in front.
        before = self._bytes[: max(0, node.col_offset - 1)]
        return scan.wrong(len(before.decode(errors="replace")) + 1, message)

    def condition(self, node: ast.expr, depth: int) -> Filter:
        """A condition, with all that is in it."""
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
                node, f"{name} alone is no condition; write {name} == true, or another comparison"
            )
        raise self.error(node, "this is no condition; write FIELD == VALUE")

    def joined(self, node: ast.BoolOp, depth: int) -> Filter:
        """`and` or `or`, flat: parts of the same kind become one list."""
        kind = And if isinstance(node.op, ast.And) else Or
        joined: list[Filter] = []
        for value in node.values:
            # A part of the same kind adds no depth: it dissolves into this one.
            same = isinstance(value, ast.BoolOp) and isinstance(value.op, type(node.op))
            found = self.condition(value, depth if same else depth + 1)
            joined.extend(parts(found, kind))
        return kind(tuple(joined))

    def comparison(self, node: ast.Compare, depth: int) -> Filter:
        """One comparison, or a chain such as `2010 <= year < 2020`."""
        sides = [node.left, *node.comparators]
        found = [
            self.pair(left, op, right) for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        if len(found) == 1:
            return found[0]
        first, second = found[0], found[1]
        if len(found) == 2 and isinstance(first, Range) and isinstance(second, Range):
            low, high = sorted((first, second), key=is_upper)
            if low.field == high.field and not is_upper(low) and is_upper(high):
                return Range(low.field, **(low.bounds() | high.bounds()))
        if depth >= MAX_DEPTH:
            raise self.error(node, f"and, or and not nest at most {MAX_DEPTH} deep; simplify it")
        return And(tuple(found))

    def pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Filter:
        """One comparison of a field and a value."""
        if isinstance(op, ast.In | ast.NotIn):
            found = self.membership(left, right)
            return Not(found) if isinstance(op, ast.NotIn) else found
        if is_field(left) == is_field(right):
            what = "two fields"
            if not is_field(left):
                # What is no value is worth more words than that there are two.
                self.literal(left)
                self.literal(right)
                what = "two values"
            raise self.error(right, f"compare a field with a value, not {what}; strings stand in quotes")
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
        bounds: dict[str, Any] = {sign if at_left else TURNED[sign]: value}
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
            raise self.error(right, f"field {field} of type {kind} is no list; compare it with ==")
        value = self.value(left, field, kind)
        if not isinstance(value, str):
            raise self.error(left, "lists hold strings only; strings stand in quotes")
        return Eq(field, value)

    def field(self, node: ast.expr) -> str:
        """The name of a field: a word, or field("any name")."""
        if isinstance(node, ast.Name):
            return node.id
        return self.argument(node, "field", 'field("name")')

    def kind(self, node: ast.expr, field: str) -> str | None:
        """The field's type, where the schema is known."""
        if self._schema is None:
            return None
        if field not in self._schema:
            known = ", ".join(self._schema) or "none"
            raise self.error(node, f"the collection has no field {field[:80]!r}; it has {known}")
        return self._schema[field]

    def value(self, node: ast.expr, field: str, kind: str | None) -> PayloadValue:
        """A value, of the field's type where that is known."""
        found = self.literal(node)
        if kind is None:
            return found
        if kind == "timestamp" and isinstance(found, str):
            return self.moment(node, found)
        if kind == "double" and isinstance(found, int) and not isinstance(found, bool):
            return float(found)
        types: dict[str, type] = {"int": int, "double": float, "bool": bool, "timestamp": dt.datetime}
        if type(found) is not types.get(kind, str):
            raise self.error(
                node, f"field {field} is of type {kind}; give {EXAMPLES.get(kind, 'another value')}"
            )
        return found

    def literal(self, node: ast.expr) -> str | int | float | bool | dt.datetime:
        """What stands there: a string, a number, true, false or timestamp("...")."""
        if isinstance(node, ast.Name) and node.id in TRUTHS:
            return TRUTHS[node.id]
        if isinstance(node, ast.Call):
            return self.moment(node, self.argument(node, "timestamp", 'timestamp("2024-05-01")'))
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign = -1 if isinstance(node.op, ast.USub) else 1
            node = node.operand
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bool):
                raise self.error(node, "only numbers have a sign")
        found = node.value if isinstance(node, ast.Constant) else None
        if isinstance(found, str | bool):
            return found
        if not isinstance(found, int | float):
            raise self.error(node, "this is no value; write a string in quotes, a number, true or false")
        number = sign * found
        if isinstance(number, int) and number not in INT64:
            raise self.error(node, "the number does not fit into 64 bits")
        if not math.isfinite(number):
            raise self.error(node, "the number is too large")
        return number

    def moment(self, node: ast.expr, text: str) -> dt.datetime:
        """A moment in ISO 8601."""
        try:
            return read_moment(text)
        except ValueError:
            raise self.error(node, f"{text[:40]!r} is no moment; write {EXAMPLES['timestamp']}") from None

    def argument(self, node: ast.expr, name: str, example: str) -> str:
        """The one string that a call of that name is given."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            given = node.args[0] if len(node.args) == 1 else None
            if node.func.id == name and isinstance(given, ast.Constant) and isinstance(given.value, str):
                return given.value
        raise self.error(node, f"write {example}; nothing else can be called")


def is_field(node: ast.expr) -> bool:
    """Whether a field stands there, rather than a value."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "field"
    return isinstance(node, ast.Name) and node.id not in TRUTHS


def is_upper(found: Range) -> bool:
    """Whether it binds from above."""
    return found.lt is not None or found.lte is not None
