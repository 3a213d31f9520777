"""Files of every type that pyarrow writes: read where there is one meaning, named where there is not."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clipserve.tools.parquet.layout import FileError
from clipserve.tools.parquet.read import PointFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

UTC = dt.timezone.utc
ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2**127 + 5)
ROWS = [[1, -2, 3], [4, 5, 6]]


def extended(kind, values):
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


def read(path, columns, *, size=100, **options):
    pq.write_table(pa.table(columns), path)
    with PointFile(path) as file:
        schema = file.columns.schema
        return file.columns, [row for rows in file.batches(size, schema, **options) for row in rows]


NUMBERS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.float16(), pa.float32(), pa.float64()),
    *(pa.decimal32(5, 1), pa.decimal64(12, 3), pa.decimal128(20, 0), pa.decimal256(60, 2)),
]
LISTS = [
    *(pa.list_, pa.large_list, pa.list_view, pa.large_list_view),
    lambda kind: pa.list_(kind, 3),
    lambda kind: pa.list_(pa.field("item", kind, nullable=False)),
]


@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
@pytest.mark.parametrize("lists", LISTS, ids=["list", "large", "view", "large_view", "fixed", "not_null"])
def test_embeddings_are_lists_of_any_numbers_with_null_rows_or_without(numbers, lists, tmp_path):
    given = [None, *ROWS, None] if lists is not LISTS[-1] else ROWS
    values = [row and [Decimal(it) if pa.types.is_decimal(numbers) else it for it in row] for row in given]
    arrays = {"id": [f"{i}" for i in range(len(values))], "embedding": pa.array(values, lists(numbers))}
    _, rows = read(tmp_path / "f.parquet", arrays, size=3)
    assert len(rows) == len(given)
    for row, expected in zip(rows, given, strict=True):
        if expected is None:
            assert row.error.message == "it has no embedding"
        else:
            assert row.point.embedding.dtype == np.float32
            np.testing.assert_array_equal(row.point.embedding, np.array(expected, np.float32))


@pytest.mark.parametrize("kind", [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()], ids=str)
def test_numbers_without_a_sign_are_numbers(kind, tmp_path):
    embedding = pa.array([[1, 2, 255]], pa.list_(kind))
    _, [row] = read(tmp_path / "f.parquet", {"id": ["a"], "embedding": embedding})
    assert row.point.embedding.tolist() == [1, 2, 255]


def test_tensors_of_one_axis_are_lists(tmp_path):
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    _, rows = read(tmp_path / "f.parquet", {"id": ["a", "b"], "embedding": tensors})
    assert [row.point.embedding.tolist() for row in rows] == [[0, 1, 2], [3, 4, 5]]
    square = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 2, 2), np.float32))
    with pytest.raises(FileError, match="fixed_shape_tensor"):
        read(tmp_path / "f.parquet", {"id": ["a", "b"], "embedding": square})


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (extended(pa.uuid(), [ONE.bytes, TWO.bytes]), [str(ONE), str(TWO)]),
        (pa.array([7, 2**64 - 1], pa.uint64()), ["7", str(2**64 - 1)]),
        (pa.array([7, -8], pa.int8()), ["7", "-8"]),
        (pa.array([Decimal(7), Decimal(10**30)], pa.decimal128(38, 0)), ["7", str(10**30)]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_ids_are_what_has_one_form_as_text(array, expected, tmp_path):
    columns = {"id": array, "embedding": [[1.0], [1.0]], "same": array}
    _, rows = read(tmp_path / "f.parquet", columns)
    assert [row.name for row in rows] == expected


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (pa.array([b"0" * 16], pa.binary(16)), r"fixed_size_binary\[16\].*only if they are marked as UUIDs"),
        (pa.array([b"a"]), "binary.*bytes"),
        (pa.array([1.0]), "double"),
        (pa.array([True]), "bool"),
        (pa.array([Decimal("1.5")]), "decimal128"),
        (pa.array([dt.date(2024, 1, 1)]), "date32"),
        (pa.array([{"a": 1}]), "struct"),
        (pa.nulls(1), "null"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_other_ids_are_refused_by_their_type(array, says, tmp_path):
    pq.write_table(pa.table({"key": array, "embedding": [[1.0]]}), tmp_path / "f.parquet")
    with pytest.raises(FileError, match=f"column 'key' has no ids: it has type {says}"):
        PointFile(tmp_path / "f.parquet", "key")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (pa.array([b"\0" * 12]), "binary, and the number type of bytes is unknown"),
        (pa.array([b"\0" * 12], pa.binary(12)), r"fixed_size_binary\[12\], and the number type"),
        (pa.array([[True, False]]), "list<element: bool>"),
        (pa.array([[[1.0], [2.0]]]), "list<element: list<element: double>>"),
        (pa.array([["1", "2"]]), "list<element: string>"),
        (pa.array(["[1, 2]"]), "string"),
        (pa.nulls(1), "null"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_other_embeddings_are_refused_by_their_type(array, says, tmp_path):
    with pytest.raises(FileError, match=f"'embedding' has no lists of numbers: it has type {says}"):
        read(tmp_path / "f.parquet", {"id": ["a"], "embedding": array})


FIELDS = [
    (pa.array(["a"], pa.string_view()), "a"),
    (extended(pa.uuid(), [TWO.bytes]), str(TWO)),
    (extended(pa.json_(), ['{"a": 1}']), '{"a": 1}'),
    (extended(pa.bool8(), [1]), True),
    (pa.array([5], pa.uint8()).dictionary_encode(), 5),
    (pa.array([Decimal("5.00")], pa.decimal128(10, 2)), 5.0),
    (pa.array([Decimal("0.10")], pa.decimal128(15, 2)), 0.1),
    (pa.array([Decimal(5)], pa.decimal64(9, 0)), 5),
    (pa.array([1.5], pa.float16()), 1.5),
    (pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("s")), dt.datetime(2024, 1, 1, tzinfo=UTC)),
    (pa.array([dt.date(2024, 1, 1)], pa.date64()), dt.datetime(2024, 1, 1, tzinfo=UTC)),
    (pa.array([["a", "b"]], pa.list_view(pa.string())), ["a", "b"]),
    (pa.array([["a", "b"]], pa.list_(pa.string(), 2)), ["a", "b"]),
    (pa.array([["a", "b"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), ["a", "b"]),
]


@pytest.mark.parametrize(("array", "expected"), FIELDS, ids=lambda value: str(getattr(value, "type", "")))
def test_columns_of_one_meaning_become_fields(array, expected, tmp_path):
    columns, [row] = read(tmp_path / "f.parquet", {"id": ["a"], "embedding": [[1.0]], "field": array})
    assert columns.ignored == {}
    value = row.point.payload["field"]
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (pa.array([Decimal("0.1")], pa.decimal128(16, 2)), "decimal128(16, 2), but a double is exact to 15"),
        (pa.array([b"a"]), "it has type binary, which no payload field supports"),
        (pa.array([1], pa.duration("s")), "it has type duration[s]"),
        (pa.array([1], pa.time64("us")), "it has type time64[us]"),
        (pa.array([[1]]), "it has type list<element: int64>"),
        (pa.array([{"a": 1}]), "it has type struct<a: int64>"),
        (pa.nulls(1), "it has no values"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_other_columns_are_left_out_by_their_own_reason(array, why, tmp_path):
    columns, [row] = read(tmp_path / "f.parquet", {"id": ["a"], "embedding": [[1.0]], "field": array})
    assert why in columns.ignored["field"]
    assert row.point.payload == {}


def test_columns_of_one_name_are_refused_or_left_out(tmp_path):
    arrays = [pa.array(["a"]), pa.array([[1.0]]), pa.array([1]), pa.array([2])]
    path = tmp_path / "f.parquet"
    pq.write_table(pa.Table.from_arrays(arrays, ["id", "embedding", "n", "n"]), path)
    with PointFile(path) as file:
        assert file.columns.ignored == {"n": "several columns have this name"}
    pq.write_table(pa.Table.from_arrays(arrays, ["id", "embedding", "n", "id"]), path)
    with pytest.raises(FileError, match="several columns are called 'id'"):
        PointFile(path)


def test_a_bad_text_costs_its_own_row(tmp_path):
    bad = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"c"]).buffers())
    lists = pa.ListArray.from_arrays([0, 1, 2, 3], bad)
    good = ["x", "y", "z"]
    for name, array in (("id", bad), ("field", bad), ("tags", lists), ("source_uri", bad)):
        columns = {"id": good, "embedding": [[1.0]] * 3, name: array}
        _, rows = read(tmp_path / "f.parquet", columns)
        assert [row.error is None for row in rows] == [True, False, True]
        assert "not valid UTF-8" in rows[1].error.message
        assert rows[1].name == ("row 2" if name == "id" else "y")


def test_moments_of_every_unit_are_those_of_the_file_or_fail_alone(tmp_path):
    # As microseconds, the first two do not fit into 64 bits.
    for unit, scale in (("s", 10**6), ("ms", 10**3)):
        far = pa.array([0, 2**62 // 1_000, 86_400 * 10**6 // scale], pa.timestamp(unit))
        _, rows = read(tmp_path / "f.parquet", {"id": ["a", "b", "c"], "embedding": [[1.0]] * 3, "t": far})
        assert "outside of the years" in rows[1].error.message, unit
        assert rows[2].point.payload["t"] == dt.datetime(1970, 1, 2, tzinfo=UTC)


def test_one_long_row_does_not_decide_the_dimension(tmp_path):
    embeddings = [[1.0] * 4, [1.0] * 3, [1.0] * 3]
    _, rows = read(tmp_path / "f.parquet", {"id": ["a", "b", "c"], "embedding": embeddings})
    assert rows[0].error.message == "its embedding has 4 numbers, not 3"
    assert [row.error for row in rows[1:]] == [None, None]


values = st.lists(
    st.one_of(st.none(), st.lists(st.one_of(st.none(), st.floats(width=32)), max_size=4)), max_size=8
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=values, lists=st.sampled_from(LISTS[:4]), size=st.integers(1, 5))
def test_every_row_is_a_point_or_says_why(values, lists, size, tmp_path):
    ids = pa.array([f"{i}" for i in range(len(values))], pa.string())
    arrays = {"id": ids, "embedding": pa.array(values, lists(pa.float32()))}
    path = tmp_path / "f.parquet"
    _, rows = read(path, arrays, size=size)
    with PointFile(path) as file:
        dim = file.dim
    assert [row.number for row in rows] == list(range(1, len(values) + 1))
    for row, value in zip(rows, values, strict=True):
        good = value is not None and len(value) == dim > 0 and None not in value and np.isfinite(value).all()
        assert (row.point is not None) == bool(good)
        if good:
            assert row.point.embedding.tobytes() == np.array(value, np.float32).tobytes()
