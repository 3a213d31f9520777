"""Files of points, without a server."""

from __future__ import annotations

import datetime as dt
import string

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clipserve.tools.parquet import write as parquet_write
from clipserve.tools.parquet.columns import choose_columns
from clipserve.tools.parquet.layout import FileError, FileFacts, read_facts
from clipserve.tools.parquet.read import PointFile
from clipserve.tools.parquet.write import writing
from clipserve.types import StoredPoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

UTC = dt.timezone.utc
SCHEMA = {"s": "string", "n": "int", "x": "double", "b": "bool", "t": "timestamp", "l": "string_list"}
DIM = 3


def facts(**changes):
    given = {
        "collection": "holiday",
        "model": "fake",
        "fingerprint": "f" * 64,
        "dim": DIM,
        "metric": "cosine",
        "schema": SCHEMA,
        "keep_sources": False,
        "create_time": "2024-05-01T00:00:00+00:00",
    }
    return FileFacts(**(given | changes))


def stored(id, payload=None, embedding=(1, 0, 0), **more):
    return StoredPoint(id, payload or {}, np.array(embedding, np.float32), **more)


def written(path, points, **changes):
    with writing(path, facts(**changes)) as writer:
        for point in points:
            writer.add(point)
    return path


def read(path, *, size=100, schema=SCHEMA, **options):
    with PointFile(path) as file:
        return [row for rows in file.batches(size, schema, **options) for row in rows]


def foreign(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.datetimes(timezones=st.just(UTC))
payloads = st.fixed_dictionaries(
    {},
    optional={
        "s": texts,
        "n": st.integers(-(2**63), 2**63 - 1),
        "x": st.floats(allow_nan=False, allow_infinity=False),
        "b": st.booleans(),
        "t": moments,
        "l": st.lists(texts, max_size=4),
    },
)
embeddings = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=DIM, max_size=DIM)
points = st.lists(
    st.builds(
        stored, texts.filter(bool), payloads, embeddings, source_uri=st.sampled_from(["", "file:///ä%20/b"])
    ),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=points, group=st.integers(1, 5), size=st.integers(1, 5))
def test_what_is_written_is_read_again_to_the_bit(points, group, size, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_write, "GROUP_ROWS", group)
    rows = read(written(tmp_path / "f.parquet", points), size=size)
    assert [row.error for row in rows] == [None] * len(points)
    for row, point in zip(rows, points, strict=True):
        assert (row.point.id, row.point.source_uri) == (point.id, point.source_uri)
        assert dict(row.point.payload) == dict(point.payload)
        assert {name: type(value) for name, value in row.point.payload.items()} == {
            name: type(value) for name, value in point.payload.items()
        }
        assert row.point.embedding.dtype == np.float32
        assert row.point.embedding.tobytes() == point.embedding.tobytes()


def test_columns_are_typed_and_the_file_says_what_it_is(tmp_path):
    path = written(tmp_path / "f.parquet", [stored("a", {"s": "x", "l": []})], sources=True)
    schema = pq.read_schema(path)
    assert {field.name: str(field.type) for field in schema} == {
        "id": "string",
        "embedding": "fixed_size_list<element: float not null>[3]",
        "payload_s": "string",
        "payload_n": "int64",
        "payload_x": "double",
        "payload_b": "bool",
        "payload_t": "timestamp[us, tz=UTC]",
        "payload_l": "list<element: string>",
        "source_uri": "string",
        "source": "binary",
        "source_kind": "string",
    }
    assert read_facts(schema) == facts(sources=True)
    row = pq.read_table(path).to_pylist()[0]
    assert (row["payload_l"], row["payload_n"], row["source"]) == ([], None, None)


def test_sources_come_back_as_what_they_were(tmp_path):
    points = [stored("a", image=b"\x89PNG"), stored("b", text="ein Hund"), stored("c")]
    rows = read(
        written(tmp_path / "f.parquet", points, sources=True), with_embeddings=False, with_sources=True
    )
    assert (rows[0].point.image, rows[0].point.embedding) == (b"\x89PNG", None)
    assert rows[1].point.text == "ein Hund"
    assert "no source" in rows[2].error.message


def test_a_row_group_ends_where_it_grows_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_write, "GROUP_BYTES", 1_000)
    points = [stored(f"{i}", image=bytes(400)) for i in range(7)]
    path = written(tmp_path / "f.parquet", points, sources=True)
    assert pq.ParquetFile(path).metadata.num_row_groups == 3


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = written(tmp_path / "f.parquet", [stored("old")])

    def fail():
        with writing(path, facts()) as writer:
            writer.add(stored("new"))
            assert len(list(tmp_path.iterdir())) == 2
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [row.name for row in read(path)] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_later_format_and_strange_facts_are_refused(tmp_path):
    with pytest.raises(FileError, match="later version"):
        read(written(tmp_path / "f.parquet", [], format=2))
    table = pa.table({"id": ["a"], "embedding": [[1.0]]}).replace_schema_metadata({"clipserve": "[]"})
    pq.write_table(table, tmp_path / "g.parquet")
    with pytest.raises(FileError, match="its metadata cannot be read"):
        read(tmp_path / "g.parquet")
    with (
        pytest.raises(FileError, match="update clipserve"),
        writing(tmp_path / "h", facts(schema={"y": "map"})),
    ):
        pass


def test_columns_of_other_files_become_fields_as_far_as_they_can(tmp_path):
    path = foreign(
        tmp_path / "f.parquet",
        id=pa.array([1, 2], pa.int32()),
        embedding=pa.array([[1, 0, 0], [0, 1, 0]], pa.large_list(pa.float64())),
        caption=pa.array(["a", None]).dictionary_encode(),
        width=pa.array([3, None], pa.uint16()),
        weight=pa.array([float("nan"), 1.5], pa.float32()),
        day=pa.array([dt.date(2024, 5, 1), None]),
        taken=pa.array([dt.datetime(2024, 5, 1, 12, 0, 0, 7), None], pa.timestamp("ns")),
        abroad=pa.array([dt.datetime(2024, 5, 1, 10, tzinfo=UTC), None], pa.timestamp("s", tz="Asia/Tokyo")),
        tags=pa.array([["x"], []], pa.list_(pa.large_string())),
        payload_kept=pa.array([True, None]),
        source_uri=pa.array(["file:///a", None]),
        place=pa.array([{"lat": 1.0}, None]),
        **{"no field": [1, 2], "__index_level_0__": [1, 2], "Caption": ["b", "c"]},
    )
    with PointFile(path) as file:
        assert file.dim == 3
        assert list(file.columns.ignored) == ["place", "no field", "__index_level_0__", "Caption"]
        schema = file.columns.schema
    first, second = read(path, schema=schema)
    assert first.point.id == "1"
    assert first.point.source_uri == "file:///a"
    assert first.point.payload == {
        "caption": "a",
        "width": 3,
        "day": dt.datetime(2024, 5, 1, tzinfo=UTC),
        "taken": dt.datetime(2024, 5, 1, 12, 0, 0, 7, tzinfo=UTC),
        "abroad": dt.datetime(2024, 5, 1, 10, tzinfo=UTC),
        "tags": ["x"],
        "kept": True,
    }
    assert second.point.payload == {"weight": 1.5, "tags": []}
    np.testing.assert_array_equal(second.point.embedding, np.array([0, 1, 0], np.float32))
    assert set(read(path, schema={"caption": "string"})[0].point.payload) == {"caption"}


def test_rows_that_are_no_points_say_why(tmp_path):
    good = [1.0, 0.0]
    path = foreign(
        tmp_path / "f.parquet",
        id=[None, "", "c", "d", "e", "f", "g", "h", "i", "j"],
        embedding=[good, good, None, [1.0], [1.0, float("nan")], [1e300, 0.0], [None, 1.0], good, good, good],
        number=pa.array([0] * 7 + [2**63, 1, 1], pa.uint64()),
        tags=pa.array([[]] * 8 + [["a", None], []]),
        size=[0.5] * 9 + [float("inf")],
    )
    with PointFile(path) as file:
        schema = file.columns.schema
    rows = read(path, size=4, schema=schema)
    assert [(row.name, row.error.message) for row in rows] == [
        ("row 1", "it has no id"),
        ("row 2", "it has no id"),
        ("c", "it has no embedding"),
        ("d", "its embedding has 1 numbers, not 2"),
        ("e", "its embedding is not finite"),
        ("f", "its embedding is not finite"),
        ("g", "its embedding has a null in place of a number"),
        ("h", "field 'number': 9223372036854775808 does not fit into 64 bits"),
        ("i", "field 'tags': a list with a null"),
        ("j", "field 'size': inf is not finite"),
    ]


def test_moments_beyond_the_calendar_fail_alone(tmp_path):
    path = foreign(
        tmp_path / "f.parquet",
        id=["a", "b"],
        embedding=[[1.0], [1.0]],
        t=pa.array([2**62, 0], pa.timestamp("us")),
    )
    first, second = read(path, schema={"t": "timestamp"})
    assert "years 1 to 9999" in first.error.message
    assert second.point.payload["t"] == dt.datetime(1970, 1, 1, tzinfo=UTC)


def test_whole_numbers_may_fill_a_field_of_doubles(tmp_path):
    path = foreign(tmp_path / "f.parquet", id=["a"], embedding=[[1.0]], n=[3])
    value = read(path, schema={"n": "double"})[0].point.payload["n"]
    assert (value, type(value)) == (3.0, float)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"key": ["a"], "embedding": [[1.0]]}, "there is no column 'id'; the columns are key, embedding"),
        ({"id": ["a"]}, "name it with --embedding-column"),
        ({"id": [1.5], "embedding": [[1.0]]}, "has no ids"),
        ({"id": ["a"], "embedding": [["x"]]}, "has no lists of numbers"),
        ({"id": ["a"], "embedding": [1.0]}, "has no lists of numbers"),
    ],
)
def test_files_without_ids_or_embeddings_are_refused(columns, why):
    with pytest.raises(FileError, match=why):
        choose_columns(pa.table(columns).schema, "id", "embedding")


def test_what_is_no_parquet_file_is_refused(tmp_path):
    (tmp_path / "f.parquet").write_bytes(string.ascii_letters.encode())
    with pytest.raises(FileError, match="not a Parquet file"):
        PointFile(tmp_path / "f.parquet")


def test_a_broken_file_says_from_where(tmp_path):
    path = written(tmp_path / "f.parquet", [stored(f"{i}" * 50) for i in range(200)])
    data = bytearray(path.read_bytes())
    data[4:300] = bytes(296)
    path.write_bytes(data)
    with pytest.raises(FileError, match="from row 1 on"):
        read(path)


def test_files_without_rows_or_embeddings_have_no_points(tmp_path):
    assert read(written(tmp_path / "f.parquet", [])) == []
    empty = pa.array([None, []], pa.list_(pa.float32()))
    path = foreign(tmp_path / "g.parquet", id=["a", "b"], embedding=empty)
    assert all(row.error is not None for row in read(path))
