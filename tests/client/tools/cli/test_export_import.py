"""`clipserve export` and `clipserve import`, as a person and as a machine use them."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from client.fake_server import Refused
from client.pictures import png
from clipserve.tools.parquet import existing, load, write
from clipserve.types import IndexOptions, Point
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

UTC = dt.timezone.utc
SCHEMA = {"s": "string", "n": "int", "x": "double", "b": "bool", "t": "timestamp", "l": "string_list"}
EXTREMES = [
    {},
    {"s": "", "n": -(2**63), "x": -0.0, "b": False, "t": dt.datetime(1, 1, 1, tzinfo=UTC), "l": []},
    {
        "s": "ünïcödé 图 \u0000 \U0001f600",
        "n": 2**63 - 1,
        "x": 5e-324,
        "b": True,
        "t": dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "l": ["", "a", "a", "图"],
    },
    {"x": 1.7976931348623157e308, "t": dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)},
]


def rows(count, dim=16, seed=1):
    """float32 [count, dim], length 1."""
    made = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture
def album(client):
    """25 points, the first with the extremes of every type."""
    client.create_collection("album", schema=SCHEMA)
    points = [
        Point(f"p{i:02}", embedding=row, payload=EXTREMES[i] if i < len(EXTREMES) else {"n": i})
        for i, row in enumerate(rows(25))
    ]
    client.upsert("album", points)
    return "album"


def stored(client, collection):
    return {it.id: it for it in client.scroll(collection, with_embeddings=True, with_sources=True)}


def same(points, expected):
    assert points.keys() == expected.keys()
    for id, point in expected.items():
        assert dict(points[id].payload) == dict(point.payload)
        assert points[id].source_uri == point.source_uri
        np.testing.assert_array_equal(points[id].embedding, point.embedding)
        assert (points[id].image, points[id].text) == (point.image, point.text)


def test_an_export_is_imported_again_as_it_was(run, answer, album, client, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "GROUP_ROWS", 7)
    out = tmp_path / "album.parquet"
    text = run("export", "-c", album, out).stdout
    assert f"wrote 25 points of album to {out}" in text
    assert pq.ParquetFile(out).metadata.num_row_groups == 4
    text = run("import", out, "-c", "copy").stdout
    assert "wrote 25 of 25 points" in text
    assert "copy has 25 points now" in text
    copy = client.get_collection("copy")
    assert dict(copy.schema) == SCHEMA
    assert copy.model == client.get_collection(album).model
    same(stored(client, "copy"), stored(client, album))
    again = tmp_path / "again.parquet"
    document = answer("export", "-c", "copy", again)
    assert (document["points"], document["schema"], document["sources"]) == (25, SCHEMA, False)
    assert document["bytes"] == again.stat().st_size


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
payloads = st.fixed_dictionaries(
    {},
    optional={
        "s": texts,
        "n": st.integers(-(2**63), 2**63 - 1),
        "x": st.floats(allow_nan=False, allow_infinity=False),
        "b": st.booleans(),
        "t": st.datetimes(timezones=st.just(UTC)),
        "l": st.lists(texts, max_size=3),
    },
)


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(given_payloads=st.lists(payloads, max_size=8), seed=st.integers(0, 2**31))
def test_any_payload_makes_the_round_trip(run, client, tmp_path, given_payloads, seed):
    for name in ("first", "second"):
        if any(collection.name == name for collection in client.list_collections()):
            client.delete_collection(name)
    client.create_collection("first", schema=SCHEMA)
    embeddings = rows(len(given_payloads), seed=seed)
    points = [Point(f"{i}", embedding=embeddings[i], payload=it) for i, it in enumerate(given_payloads)]
    client.upsert("first", points)
    run("export", "-c", "first", tmp_path / "f.parquet")
    run("import", tmp_path / "f.parquet", "-c", "second")
    same(stored(client, "second"), stored(client, "first"))


def test_the_filter_chooses_what_is_exported(answer, album, tmp_path, run):
    out = tmp_path / "few.parquet"
    assert answer("export", "-c", album, out, "--filter", "n >= 20 and n < 2000")["points"] == 5
    assert pq.read_table(out)["id"].to_pylist() == [f"p{i}" for i in range(20, 25)]
    assert "--filter" in run("export", "-c", album, out, "--filter", "nope == 1", code=2).output


def test_an_export_that_fails_leaves_nothing_behind(run, album, server, tmp_path):
    server.script("ScrollPoints", 0.0, Refused("INTERNAL", "STORAGE_FAILED", "disk broken"))
    out = tmp_path / "out.parquet"
    result = run("export", "-c", album, out, code=1)
    assert "disk broken" in result.stderr
    assert list(tmp_path.glob("**/*out*")) == []


def test_sources_travel_too_and_may_be_embedded_anew(run, answer, photos, client, server, tmp_path):
    run("index", photos, "-c", "kept", "--keep-sources")
    out = tmp_path / "kept.parquet"
    answer("export", "-c", "kept", out, "--sources")
    [row] = pq.read_table(out, filters=[("id", "==", "a.png")]).to_pylist()
    assert (row["source"], row["source_kind"]) == ((photos / "a.png").read_bytes(), "image")
    assert row["source_uri"] == (photos / "a.png").as_uri()
    document = answer("import", out, "-c", "anew", "--from-sources")
    assert (document["written"], document["failed"], document["left_out"]) == (5, 0, [])
    sizes = [call.items for call in server.seen("UpsertPointsStream")]
    assert (sizes[0], sum(sizes)) == (1, 5)
    assert client.get_collection("anew").keep_sources
    [point] = client.get_points("anew", ["a.png"], with_sources=True)
    assert point.image == (photos / "a.png").read_bytes()
    same(stored(client, "anew"), stored(client, "kept"))


def kept_album(client, name="kept", count=5):
    """Pictures and texts with all types of payload, in a collection with settings of its own."""
    options = IndexOptions(m=8, ef_construction=64, ef_search=32)
    client.create_collection(name, schema=SCHEMA, keep_sources=True, index=options)
    points = [
        Point(f"p{i}", image=png(i), payload=EXTREMES[i % 4], source_uri=f"file:///{i}") for i in range(count)
    ]
    client.upsert(name, [*points, Point("text", text="a dög")])
    return name


def test_a_collection_that_keeps_sources_is_restored_whole(run, answer, client, tmp_path):
    out, again = tmp_path / "kept.parquet", tmp_path / "again.parquet"
    kept_album(client)
    assert answer("export", "-c", "kept", out, "--sources")["points_with_source"] == 6
    document = answer("import", out, "-c", "copy")
    assert (document["written"], document["with_source"], document["keep_sources"]) == (6, 6, True)
    before, after = client.get_collection("kept"), client.get_collection("copy")
    assert (after.keep_sources, after.index_options) == (True, before.index_options)
    assert (after.schema, after.model) == (before.schema, before.model)
    same(stored(client, "copy"), stored(client, "kept"))
    # Over itself, and over the copy.
    for name in ("kept", "copy"):
        assert "6 with their source" in run("import", out, "-c", name).stdout
        same(stored(client, name), stored(client, "kept"))
    answer("export", "-c", "copy", again, "--sources")
    assert pq.read_table(again).equals(pq.read_table(out))


def test_sources_are_not_lost_without_being_told(run, answer, client, tmp_path):
    full, plain = tmp_path / "full.parquet", tmp_path / "plain.parquet"
    kept_album(client)
    run("export", "-c", "kept", full, "--sources")
    assert "add --sources" in run("export", "-c", "kept", plain).stderr
    before = stored(client, "kept")
    client.create_collection("bare", schema=SCHEMA)
    client.create_collection("empty", schema=SCHEMA, keep_sources=True)
    for file, name, words in [
        (plain, "kept", "kept keeps sources, but the file has none"),
        (plain, "fresh", "create fresh without sources by --without-sources"),
        (plain, "empty", "empty keeps sources, but the file has none"),
        (full, "bare", "bare does not keep sources"),
    ]:
        text = run("import", file, "-c", name, code=1).stderr
        assert words in text
        assert "--without-sources" in text
    same(stored(client, "kept"), before)
    assert [it.name for it in client.list_collections()] == ["bare", "empty", "kept"]
    for file, name, keeps in [(plain, "fresh", False), (full, "bare", False), (plain, "kept", True)]:
        document = answer("import", file, "-c", name, "--without-sources")
        assert (document["written"], document["with_source"], document["keep_sources"]) == (6, 0, keeps)
        assert {it.image for it in stored(client, name).values()} == {None}


def test_rows_without_a_source_do_not_erase_one(answer, client, tmp_path):
    kept_album(client)
    out = tmp_path / "kept.parquet"
    answer("export", "-c", "kept", out, "--sources")
    table = pq.read_table(out)
    for column in ("source", "source_kind"):
        values = table[column].to_pylist()
        values[0] = None
        place = table.schema.get_field_index(column)
        table = table.set_column(
            place, table.schema.field(column), [pa.array(values, table.schema.field(column).type)]
        )
    pq.write_table(table, out)
    document = answer("import", out, "-c", "kept", code=3)
    assert [error["name"] for error in document["errors"]] == ["p0"]
    assert stored(client, "kept")["p0"].image == png(0)
    assert answer("import", out, "-c", "copy")["with_source"] == 5


def test_servers_that_cannot_restore_sources_are_not_asked_to(run, client, server, tmp_path):
    kept_album(client)
    out = tmp_path / "kept.parquet"
    run("export", "-c", "kept", out, "--sources")
    server.state.restores_sources = False
    try:
        assert "too old to restore points" in run("import", out, "-c", "copy", code=1).stderr
        server.state.keeps_sources = False
        assert (
            "this server cannot store sources (engine fake)"
            in run("import", out, "-c", "copy", code=1).stderr
        )
    finally:
        server.state.restores_sources = server.state.keeps_sources = True
    assert [it.name for it in client.list_collections()] == ["kept"]


def test_points_with_another_content_are_not_overwritten(run, answer, album, client, tmp_path):
    out = tmp_path / "album.parquet"
    run("export", "-c", album, out)
    client.upsert(album, [Point("p07", embedding=rows(1)[0], payload={"n": 8})])
    changed = stored(client, album)
    text = run("import", out, "-c", album, code=1).stderr
    assert "album has 1 points with ids of the file and other content (p07)" in text
    same(stored(client, album), changed)
    assert answer("import", out, "-c", album, "--skip-existing")["skipped"] == 25
    same(stored(client, album), changed)
    assert answer("import", out, "-c", album, "--replace")["written"] == 25
    assert stored(client, album)["p07"].payload == {"n": 7}


def test_an_id_that_is_twice_in_a_file_is_written_once(answer, client, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "ROWS", 2)
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c", "a"], "embedding": rows(4).tolist()}), path)
    document = answer("import", path, "-c", "twice", code=3)
    assert (document["written"], [error["name"] for error in document["errors"]]) == (3, ["a"])
    np.testing.assert_array_equal(stored(client, "twice")["a"].embedding, rows(4)[0])


def test_fields_with_names_that_data_frames_use_are_restored(answer, client, tmp_path):
    client.create_collection("odd", schema={"__index_level_0__": "int", "payload_n": "int", "id": "int"})
    client.upsert("odd", [Point("a", text="x", payload={"__index_level_0__": 1, "payload_n": 2, "id": 3})])
    answer("export", "-c", "odd", tmp_path / "odd.parquet")
    assert answer("import", tmp_path / "odd.parquet", "-c", "copy")["left_out"] == []
    same(stored(client, "copy"), stored(client, "odd"))


def test_sources_that_are_not_kept_cannot_be_exported_or_embedded(run, album, tmp_path):
    assert "leave out --sources" in run("export", "-c", album, tmp_path / "x", "--sources", code=1).output
    run("export", "-c", album, tmp_path / "x.parquet")
    text = run("import", tmp_path / "x.parquet", "-c", "copy", "--from-sources", code=1).output
    assert "export with --sources" in text


def test_points_of_another_model_are_refused(run, album, client, server, tmp_path):
    out = tmp_path / "album.parquet"
    run("export", "-c", album, out)
    facts = json.loads(pq.read_schema(out).metadata[b"clipserve"]) | {"fingerprint": "1" * 64}
    table = pq.read_table(out).replace_schema_metadata({b"clipserve": json.dumps(facts).encode()})
    pq.write_table(table, out)
    text = run("import", out, "-c", "copy", code=1).output
    assert "are of model fake (fingerprint 111111111111…), which this server does not serve" in text
    assert [it.name for it in client.list_collections()] == ["album"]
    # Where the collection is there, the server refuses.
    document = json.loads(run("import", out, "-c", album, "--json", code=1).stderr)
    assert document["error"]["reason"] == "FINGERPRINT_MISMATCH"


def test_the_model_is_found_by_its_fingerprint(answer, run, album, server, tmp_path):
    out = tmp_path / "album.parquet"
    run("export", "-c", album, out)
    server.state.model.name = "renamed"
    try:
        assert answer("import", out, "-c", "copy")["model"] == "renamed"
        assert "which is not fake" in run("import", out, "-c", "other", "--model", "fake", code=1).output
    finally:
        server.state.model.name = "fake"


def test_importing_again_is_safe_and_may_skip_what_is_there(answer, album, client, server, tmp_path):
    out = tmp_path / "album.parquet"
    answer("export", "-c", album, out)
    client.delete_points(album, [f"p{i:02}" for i in range(5, 25)])
    document = answer("import", out, "-c", album, "--skip-existing")
    assert (document["written"], document["skipped"], document["points"], document["created"]) == (
        20,
        5,
        25,
        False,
    )
    document = answer("import", out, "-c", album)
    assert (document["written"], document["skipped"], document["points"]) == (25, 0, 25)


def test_all_points_there_are_passed_over_without_a_write(answer, album, server, tmp_path):
    out = tmp_path / "album.parquet"
    answer("export", "-c", album, out)
    document = answer("import", out, "-c", album, "--skip-existing")
    assert (document["written"], document["skipped"]) == (0, 25)
    assert server.seen("UpsertPointsStream") == []


def test_files_of_others_are_imported(run, answer, client, tmp_path):
    table = pa.table(
        {
            "key": [f"k{i}" for i in range(6)],
            "vector": [*rows(3).tolist(), [0.0] * 16, [1.0], None],
            "caption": ["a dog", None, "图", "x", "y", "z"],
            "place": [{"lat": 1.0}] * 6,
        }
    )
    path = tmp_path / "foreign.parquet"
    pq.write_table(table, path)
    options = ("-c", "foreign", "--id-column", "key", "--embedding-column", "vector")
    assert "there is no column 'id'" in run("import", path, "-c", "foreign", code=1).output
    document = answer("import", path, *options, code=3)
    assert (document["written"], document["failed"], document["created"]) == (3, 3, True)
    assert document["left_out"] == ["place"]
    assert "struct<lat: double>" in document["left_out_reasons"]["place"]
    assert sorted(error["name"] for error in document["errors"]) == ["k3", "k4", "k5"]
    assert dict(client.get_collection("foreign").schema) == {"caption": "string"}
    assert dict(stored(client, "foreign")["k0"].payload) == {"caption": "a dog"}
    result = run("import", path, *options, code=3)
    assert "place" in result.stderr
    assert "its embedding has 1 numbers, not 16" in result.stderr
    assert "wrote 3 of 6 points" in result.stdout
    assert "3 failed" in result.stdout


@pytest.mark.parametrize("size", [1, 2, 100])
def test_of_rows_with_one_id_the_first_is_written(run, answer, client, tmp_path, monkeypatch, size):
    monkeypatch.setattr(load, "ROWS", size)
    monkeypatch.setattr(existing, "ROWS", size)
    path = tmp_path / "twice.parquet"
    ids, vectors = ["a", "a", "b", "a", "c"], rows(5)
    pq.write_table(pa.table({"id": ids, "embedding": vectors.tolist(), "n": range(5)}), path)
    for options in ((), (), ("--replace",), ("--skip-existing",)):
        document = answer("import", path, "-c", "twice", *options, code=3)
        assert document["written"] + document["skipped"] == 3
        assert [(error["name"], error["message"]) for error in document["errors"]] == [
            ("a", "row 2 is not written, as row 1 has the same id"),
            ("a", "row 4 is not written, as row 1 has the same id"),
        ]
        assert {id: point.payload["n"] for id, point in stored(client, "twice").items()} == {
            "a": 0,
            "b": 2,
            "c": 4,
        }


def test_a_file_without_an_embedding_is_refused_for_that(run, client, tmp_path):
    path = tmp_path / "none.parquet"
    pq.write_table(pa.table({"id": ["a"], "embedding": pa.array([None], pa.list_(pa.float32()))}), path)
    text = run("import", path, "-c", "none", code=1).output
    assert "no row of the file has an embedding in column 'embedding'" in text
    assert client.list_collections() == ()


def test_fields_that_a_collection_has_not_are_left_out_and_others_must_agree(
    run, answer, client, album, tmp_path
):
    out = tmp_path / "album.parquet"
    run("export", "-c", album, out)
    client.create_collection("few", schema={"n": "double", "s": "string"})
    document = answer("import", out, "-c", "few", code=3)
    # 2^63 − 1 is not a double: it is refused rather than rounded.
    assert [error["name"] for error in document["errors"]] == ["p02"]
    assert document["left_out"] == ["payload_x", "payload_b", "payload_t", "payload_l"]
    assert stored(client, "few")["p10"].payload == {"n": 10.0}
    client.create_collection("odd", schema={"s": "int"})
    text = run("import", out, "-c", "odd", code=1).output
    assert "field 's' is of type int in odd, but of type string in the file" in text


def test_embeddings_of_another_size_are_refused_before_a_collection_is_made(run, client, tmp_path):
    path = tmp_path / "small.parquet"
    pq.write_table(pa.table({"id": ["a"], "embedding": [[1.0, 0.0]]}), path)
    text = run("import", path, "-c", "small", code=1).output
    assert "the embeddings of the file have 2 numbers, but those of model fake have 16" in text
    assert client.list_collections() == ()
    client.create_collection("small")
    assert "those of small have 16" in run("import", path, "-c", "small", code=1).output


def test_a_missing_collection_may_be_left_unmade(run, album, tmp_path):
    out = tmp_path / "album.parquet"
    run("export", "-c", album, out)
    text = run("import", out, "-c", "missing", "--no-create", code=1).output
    assert "no collection 'missing'" in text
    run("import", out, "-c", album, "--model", "other", code=1)


def test_what_is_no_parquet_file_is_one_sentence(run, tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"junk")
    text = run("import", tmp_path / "x.parquet", "-c", "abc", code=1).output
    assert text.startswith(f"Error: {tmp_path / 'x.parquet'}: not a Parquet file")
    assert len(text.splitlines()) == 1


def test_ctrl_c_leaves_what_was_written_and_says_how_to_go_on(run, album, client, tmp_path, monkeypatch):
    def settle(self, count):
        settled(self, count)
        if self.done == 10:
            raise KeyboardInterrupt

    settled = load.LoadRun._settle
    monkeypatch.setattr(load, "ROWS", 10)
    monkeypatch.setattr(load.LoadRun, "_settle", settle)
    run("export", "-c", album, tmp_path / "f.parquet")
    words = run("import", tmp_path / "f.parquet", "-c", "copy", code=130).stderr
    assert "stopped after 10 of 25 rows" in words
    assert "--skip-existing continues from there" in words
    assert "Aborted!" in words
    assert client.count("copy") >= 10


def test_batches_are_read_as_they_are_sent(answer, album, tmp_path, monkeypatch, server):
    monkeypatch.setattr(load, "ROWS", 10)
    answer("export", "-c", album, tmp_path / "f.parquet")
    document = answer("import", tmp_path / "f.parquet", "-c", "copy")
    assert (document["rows"], document["written"]) == (25, 25)
    assert [call.items for call in server.seen("UpsertPointsStream")] == [10, 10, 5]


def test_points_that_the_server_refuses_are_named(answer, tmp_path):
    path = tmp_path / "odd.parquet"
    ids = ["fine", "x" * 600, "fine too"]
    pq.write_table(pa.table({"id": ids, "embedding": rows(3).tolist()}), path)
    document = answer("import", path, "-c", "odd", code=3)
    assert (document["written"], [error["name"] for error in document["errors"]]) == (2, ["x" * 600])


@pytest.mark.parametrize("command", ["export", "import"])
def test_without_pyarrow_the_command_says_what_to_install(tmp_path, command):
    (tmp_path / "x.parquet").write_bytes(b"junk")
    code = "import sys; sys.modules['pyarrow'] = None; from clipserve.tools.cli import main; main()"
    words = [sys.executable, "-c", code, command, tmp_path / "x.parquet", "-c", "abc"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: the command needs pyarrow; install it with: pip install 'clipserve[cli]'\n"
