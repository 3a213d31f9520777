"""Rules for images in `clipserve export` and `clipserve import`."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from clipserve import ImageRules, Point

OLD = ImageRules()
BLUE = ImageRules(True, "#0a3cc8")


@pytest.fixture
def exported(run, client, tmp_path):
    """Exports a collection with these rules."""

    def make(rules):
        client.create_collection("album", image_rules=rules, keep_sources=True)
        client.upsert("album", [Point("a", text="a text")])
        out = tmp_path / "album.parquet"
        run("export", "-c", "album", "--sources", out)
        return out

    return make


@pytest.mark.parametrize("rules", [OLD, BLUE])
def test_a_new_collection_gets_the_rules_of_the_embeddings(run, client, exported, rules):
    run("import", exported(rules), "-c", "copy")
    assert client.get_collection("copy").image_rules == rules


def test_sources_that_are_embedded_again_follow_the_server(run, client, exported):
    run("import", exported(OLD), "-c", "copy", "--from-sources")
    assert client.get_collection("copy").image_rules == client.info().image_rules != OLD


def test_embeddings_of_other_rules_than_the_collections_are_refused_unless_accepted(run, client, exported):
    client.create_collection("other_rules", keep_sources=True, image_rules=BLUE)
    client.create_collection("same_rules", keep_sources=True, image_rules=OLD)
    file = exported(OLD)
    refused = run("import", file, "-c", "other_rules", code=1)
    words = " ".join(refused.stderr.split())
    assert "made with EXIF orientation not applied, transparency dropped" in words
    assert "--from-sources" in words
    assert client.count("other_rules") == 0
    accepted = run("import", file, "-c", "other_rules", "--accept-other-image-rules")
    assert "Warning: the embeddings of the file were made with" in " ".join(accepted.stderr.split())
    assert client.count("other_rules") == 1
    assert "made with" not in run("import", file, "-c", "same_rules").stderr


def test_sources_are_embedded_again_for_a_collection_with_other_rules(run, client, exported):
    client.create_collection("other_rules", keep_sources=True, image_rules=BLUE)
    assert "made with" not in run("import", exported(OLD), "-c", "other_rules", "--from-sources").stderr
    assert client.count("other_rules") == 1


def test_a_file_of_an_older_release_has_embeddings_without_rules(run, client, exported, tmp_path):
    table = pq.read_table(exported(BLUE))
    document = json.loads(table.schema.metadata[b"clipserve"])
    del document["image_rules"]
    old = tmp_path / "old.parquet"
    pq.write_table(table.replace_schema_metadata({b"clipserve": json.dumps(document).encode()}), old)
    run("import", old, "-c", "copy")
    assert client.get_collection("copy").image_rules == OLD
