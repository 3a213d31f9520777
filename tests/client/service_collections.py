"""Cases of aliases, scrolling, streams, text filters, sources and indexes. See service_cases.py."""

from __future__ import annotations

import io

import clipserve
import numpy as np
import pytest
from client.pictures import pixels, png
from client.service_support import (
    NOON,
    fill,
    ids,
    new_alias,
)
from clipserve import F, IndexOptions, Point
from PIL import Image


class CollectionCases:
    """Cases for a server at `address`."""

    def test_info_names_the_engine(self, service):
        info = service.info()
        assert info.engine
        assert isinstance(info.keeps_sources, bool)
        assert info.limits.max_page_size > 0

    def test_rules_for_images_are_told_of_the_server_and_of_each_collection(self, service, new_collection):
        collection = new_collection()
        rules = service.info().image_rules
        assert rules == clipserve.ImageRules(apply_orientation=True, alpha_background="#ffffff")
        assert collection.image_rules == service.get_collection(collection.name).image_rules == rules
        assert [it.image_rules for it in service.list_collections() if it.name == collection.name] == [rules]

    def test_a_collection_can_be_created_with_the_rules_of_its_embeddings(self, service, new_collection):
        for rules in (clipserve.ImageRules(), clipserve.ImageRules(True, "#0a3cc8")):
            assert new_collection(image_rules=rules).image_rules == rules

    def test_an_alias_stands_for_its_collection(self, service, new_collection):
        name, alias = new_collection().name, new_alias()
        assert service.put_alias(alias, name) == ""
        fill(service, alias)
        collection = service.get_collection(alias)
        assert (collection.name, collection.aliases, collection.count) == (name, (alias,), 6)
        assert service.count(alias) == 6
        assert ids(service.search(alias, image=png(1), top_k=1)) == {"p1"}
        assert len(list(service.scroll(alias))) == 6
        assert service.delete_points(alias, ["p0"]) == 1
        assert service.list_aliases()[alias] == name

    def test_an_alias_can_mean_another_collection_from_one_moment_on(self, service, new_collection):
        blue, green, alias = new_collection().name, new_collection().name, new_alias()
        fill(service, green, 2)
        service.put_alias(alias, blue)
        assert service.count(alias) == 0
        assert service.put_alias(alias, green) == blue
        assert service.count(alias) == 2
        service.delete_alias(alias)
        with pytest.raises(clipserve.CollectionNotFound):
            service.count(alias)
        with pytest.raises(clipserve.AliasNotFound):
            service.delete_alias(alias)

    def test_names_mean_one_thing_only(self, service, new_collection):
        name, other, alias = new_collection().name, new_collection().name, new_alias()
        with pytest.raises(clipserve.CollectionNotFound):
            service.put_alias(alias, "no_such_collection")
        with pytest.raises(clipserve.CollectionExists):
            service.put_alias(other, name)
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.put_alias("1", name)
        assert caught.value.field == "alias.name"
        service.put_alias(alias, name)
        with pytest.raises(clipserve.CollectionExists):
            service.create_collection(alias)

    def test_a_point_that_must_be_new_replaces_none(self, service, new_collection):
        name = new_collection().name
        service.upsert(name, [Point("there", text="a", payload={"year": 1})])
        points = [
            Point(id, text="b", payload={"year": 2}, must_be_new=True) for id in ("there", "new", "other")
        ]
        points.append(Point("plain", text="c"))
        result = service.upsert(name, points, on_error="return")
        assert result.written == 3
        assert {place: type(error) for place, error in result.errors.items()} == {0: clipserve.PointExists}
        assert result.errors[0].field == "points[0].id"
        assert {point.id: point.payload.get("year") for point in service.scroll(name)} == {
            "there": 1,
            "new": 2,
            "other": 2,
            "plain": None,
        }

    def test_a_purge_leaves_what_was_not_deleted(self, service, new_collection):
        name, alias = new_collection().name, new_alias()
        service.put_alias(alias, name)
        service.upsert(name, [Point("a", text="a"), Point("b", text="b")])
        service.delete_points(name, ["a"])
        service.purge_collection(alias)
        assert [point.id for point in service.scroll(name)] == ["b"]
        with pytest.raises(clipserve.CollectionNotFound):
            service.purge_collection("no_such_collection")

    def test_collections_with_aliases_are_not_deleted(self, service, new_collection):
        name, alias = new_collection().name, new_alias()
        service.put_alias(alias, name)
        with pytest.raises(clipserve.CollectionHasAliases):
            service.delete_collection(name)
        with pytest.raises(clipserve.CollectionNotFound):
            service.delete_collection(alias)
        assert service.get_collection(name).aliases == (alias,)

    def test_scrolling_gives_every_point_once_in_the_order_of_bytes(self, service, new_collection):
        name = new_collection().name
        wanted = [*(f"p{i}" for i in range(25)), "A", "zebra", "é", "\uff5e", "😀", "a b", "%_'\""]
        service.upsert(name, [Point(id, text=id) for id in wanted])
        ids = [point.id for point in service.scroll(name, page_size=4)]
        assert ids == sorted(wanted, key=str.encode)
        assert [point.id for point in service.scroll(name)] == ids

    def test_scrolling_returns_what_was_asked_for(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        plain = list(service.scroll(name, filter="year >= 2023"))
        assert [point.id for point in plain] == ["p3", "p4", "p5"]
        assert plain[0].payload["tags"] == ["all", "tag3"]
        assert plain[0].embedding is None
        expected = {point.id: point for point in service.get_points(name, ["p1", "p2"], with_embeddings=True)}
        for point in service.scroll(name, filter=F("year").isin([2021, 2022]), with_embeddings=True):
            np.testing.assert_array_equal(point.embedding, expected[point.id].embedding)
        assert list(service.scroll(name, filter="year > 3000")) == []

    def test_scrolling_goes_on_while_points_come_and_go(self, service, new_collection):
        name = new_collection().name
        service.upsert(name, [Point(f"p{i:02}", text=f"{i}") for i in range(12)])
        pages = service.scroll(name, page_size=2)
        ids = [next(pages).id, next(pages).id]
        service.upsert(name, [Point("a", text="before"), Point("p11", text="replaced")])
        service.delete_points(name, ["p00", "p10"])
        ids += [point.id for point in pages]
        assert len(ids) == len(set(ids))
        assert set(ids) >= {f"p{i:02}" for i in range(12)} - {"p00", "p10"}

    def test_conditions_can_be_texts(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        text = '2021 <= year < 2025 and ("tag3" in tags or weight < 1.0) and not kind == "even"'
        assert service.count(name, text) == 2
        assert ids(service.search(name, text="x", filter=text)) == {"p1", "p3"}
        assert service.count(name, f'taken > timestamp("{NOON.isoformat()}")') == 5

    def test_points_that_meet_a_filter_are_deleted(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        assert service.delete_points(name, filter='kind == "odd"') == 3
        assert service.delete_points(name, filter=F("kind") == "odd") == 0
        assert [point.id for point in service.scroll(name)] == ["p0", "p2", "p4"]
        with pytest.raises(clipserve.InvalidFilter):
            service.delete_points(name, filter="nothing == 1")
        assert service.count(name) == 3

    def test_points_are_written_over_a_stream(self, service, new_collection):
        name = new_collection().name
        batches = [[Point(f"p{i}-{j}", image=png(10 * i + j)) for j in range(3)] for i in range(5)]
        results = list(service.upsert_stream(name, batches))
        assert [result.written for result in results] == [3] * 5
        assert service.count(name) == 15
        assert ids(service.search(name, image=png(21), top_k=1)) == {"p2-1"}

    def test_streamed_batches_fail_item_by_item(self, service, new_collection):
        name = new_collection().name
        batches = [[Point("a", text="x"), Point("b", image=b"junk")], [], [Point("c", text="y")]]
        first, empty, last = service.upsert_stream(name, batches, on_error="return")
        assert (first.written, empty.written, last.written) == (1, 0, 1)
        assert first.errors[1].field == "points[1].image.content"
        with pytest.raises(clipserve.FingerprintMismatch):
            list(service.upsert_stream(name, batches, fingerprint="0" * 64))

    def test_sources_are_kept_where_that_was_wanted(self, service, new_collection):
        if not service.info().keeps_sources:
            with pytest.raises(clipserve.InvalidArgument) as caught:
                new_collection(keep_sources=True)
            assert caught.value.field == "keep_sources"
            return
        made = new_collection(keep_sources=True)
        assert made.keep_sources
        points = [
            Point("picture", image=png(1)),
            Point("pixels", image=pixels(2)),
            Point("text", text="a dög"),
            Point("embedding", embedding=service.embed_texts(["x"]).embeddings[0]),
        ]
        service.upsert(made.name, points)
        points = {point.id: point for point in service.scroll(made.name, with_sources=True)}
        assert points["picture"].image == png(1)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(points["pixels"].image))), pixels(2))
        assert points["text"].text == "a dög"
        assert points["text"].image is None
        assert (points["embedding"].image, points["embedding"].text) == (None, None)
        assert service.get_points(made.name, ["picture"], with_sources=True)[0].image == png(1)
        assert service.get_points(made.name, ["picture"])[0].image is None

    def test_kept_pictures_have_thumbnails(self, service, new_collection):
        if not service.info().keeps_sources:
            pytest.skip("needs an engine that keeps sources")
        name, bare = new_collection(keep_sources=True).name, new_collection().name
        service.upsert(
            name, [Point("picture", image=png(1, height=60, width=80)), Point("text", text="a dog")]
        )
        service.upsert(bare, [Point("picture", image=png(1))])
        made = service.get_thumbnail(name, "picture", size=40)
        assert (made.width, made.height) == (40, 30)
        image = Image.open(io.BytesIO(made.jpeg))
        assert (image.format, image.size) == ("JPEG", (40, 30))
        expected = np.asarray(Image.fromarray(pixels(1, 60, 80)).resize((40, 30)), float)
        assert np.abs(np.asarray(image, float) - expected).mean() < 8
        assert service.get_thumbnail(name, "picture").width == 80
        for collection, id in ((name, "text"), (bare, "picture")):
            with pytest.raises(clipserve.SourcesNotKept):
                service.get_thumbnail(collection, id)
        with pytest.raises(clipserve.PointNotFound):
            service.get_thumbnail(name, "nobody")

    def test_points_are_restored_with_their_sources(self, service, new_collection):
        if not service.info().keeps_sources:
            pytest.skip("needs an engine that keeps sources")
        name, copy = new_collection(keep_sources=True).name, new_collection(keep_sources=True).name
        service.upsert(name, [Point("picture", image=png(1)), Point("text", text="a dög")])
        stored = list(service.scroll(name, with_embeddings=True, with_sources=True))
        points = [
            Point(point.id, image=point.image, text=point.text, embedding=point.embedding) for point in stored
        ]
        assert service.upsert(copy, points).written == 2
        restored = list(service.scroll(copy, with_embeddings=True, with_sources=True))
        assert [(point.id, point.image, point.text) for point in restored] == [
            (point.id, point.image, point.text) for point in stored
        ]
        for before, after in zip(stored, restored, strict=True):
            np.testing.assert_array_equal(before.embedding, after.embedding)
        bare = new_collection().name
        result = service.upsert(bare, points, on_error="return")
        assert (result.written, result.errors[0].field) == (0, "points[0].kept_image")
        assert result.errors[1].field == "points[1].kept_text"

    def test_places_of_sources_are_kept_everywhere(self, service, new_collection):
        name = new_collection().name
        uri = "file:///data/photos/a%20dog.jpg"
        service.upsert(name, [Point("a", text="x", source_uri=uri), Point("b", text="y")])
        assert [point.source_uri for point in service.get_points(name, ["a", "b"])] == [uri, ""]
        assert next(service.scroll(name)).source_uri == uri
        result = service.upsert(name, [Point("c", text="x", source_uri="s" * 2_049)], on_error="return")
        assert result.errors[0].field == "points[0].source_uri"

    def test_options_of_the_index_are_kept(self, service, new_collection):
        options = IndexOptions(m=8, ef_construction=64, ef_search=128)
        made = new_collection(index=options)
        assert service.get_collection(made.name).index_options == options
        exact = new_collection(index=IndexOptions(exact=True))
        fill(service, exact.name)
        assert ids(service.search(exact.name, image=png(3), top_k=1)) == {"p3"}
        assert service.get_collection(exact.name).index_status.state == "none"
        with pytest.raises(clipserve.InvalidInput) as caught:
            new_collection(index=IndexOptions(m=3))
        assert caught.value.field == "index_options.m"

    def test_the_state_of_the_index_is_told(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        collection = service.get_collection(name)
        assert collection.index_status.state in ("none", "building", "ready")
        assert 0 <= collection.index_status.indexed <= collection.count == 6
        assert collection.migration is None
