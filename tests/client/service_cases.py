"""What any clipserve server must do, asked through the SDK.

The same cases run on the fake server here and on the real one in the end-to-end tests: subclass ServiceCases
where a fixture `address` gives HOST:PORT. They assume nothing about a model but that different pictures
have different embeddings.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import math
import time
import uuid
from collections.abc import Callable, Iterator

import clipserve
import numpy as np
import pytest
from client.pictures import pixels, png, saved
from clipserve import Client, F, IndexOptions, LabelSet, NoneOfTheAbove, Point, Weighted
from PIL import Image

CLOSE = 1e-3
"""Embeddings of one picture may differ by so much between batches of different sizes."""
NOON = dt.datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=dt.timezone.utc)
SCHEMA = {
    "kind": "string",
    "year": "int",
    "weight": "double",
    "public": "bool",
    "taken": "timestamp",
    "tags": "string_list",
}


@pytest.fixture
def service(address: str) -> Iterator[Client]:
    with Client(address, timeout=60) as client:
        yield client


@pytest.fixture
def new_collection(service: Client) -> Iterator[Callable[..., clipserve.Collection]]:
    """Makes collections that are gone after the test."""
    names: list[str] = []

    def make(**kwargs: object) -> clipserve.Collection:
        names.append(f"case_{uuid.uuid4().hex}")
        return service.create_collection(names[-1], schema=SCHEMA, **kwargs)

    yield make
    for name in names:
        with contextlib.suppress(clipserve.CollectionNotFound):  # the test deleted it itself
            for alias in service.get_collection(name).aliases:
                service.delete_alias(alias)
            service.delete_collection(name)


@pytest.fixture
def new_name(service: Client) -> Iterator[Callable[[], str]]:
    """Names for label sets, which are gone after the test."""
    names: list[str] = []

    def make() -> str:
        names.append(f"case-{uuid.uuid4().hex}")
        return names[-1]

    yield make
    for name in names:
        with contextlib.suppress(clipserve.LabelSetNotFound):  # never put, or deleted by the test itself
            service.delete_label_set(name)


def fill(service: Client, name: str, count: int = 6) -> None:
    """Points p0, p1, …: pictures with payloads."""
    points = [
        Point(
            f"p{i}",
            image=png(i),
            payload={
                "kind": "even" if i % 2 == 0 else "odd",
                "year": 2020 + i,
                "weight": i / 2,
                "public": i < 3,
                "taken": NOON + dt.timedelta(days=i),
                "tags": ["all", f"tag{i}"],
            },
        )
        for i in range(count)
    ]
    assert service.upsert(name, points).written == count


def new_alias() -> str:
    """A name that nothing has."""
    return f"alias_{uuid.uuid4().hex}"


def another_model(service: Client) -> str:
    """A ready model that is not the default; skips the test where none is, or no sources are kept."""
    info = service.info()
    default = next(model for model in info.models if model.name == info.default_model)
    others = [m for m in info.models if m.ready and m.ref.fingerprint != default.ref.fingerprint]
    if not others or not info.keeps_sources:
        pytest.skip("needs two models, and an engine that keeps sources")
    return others[0].name


def until_migrated(service: Client, name: str, seconds: float = 60) -> clipserve.Migration:
    """The collection's migration, once it is ready."""
    end = time.monotonic() + seconds
    while True:
        found = service.get_collection(name).migration
        assert found is not None
        if found.state == "ready":
            return found
        assert time.monotonic() < end, found
        time.sleep(0.1)


def ids(result: clipserve.SearchResult) -> set[str]:
    return {hit.id for hit in result}


class ServiceCases:
    """Cases for a server at `address`."""

    def test_info_names_a_ready_model_and_limits(self, service):
        info = service.info()
        model = info.models[0]
        assert model.ready
        assert len(model.ref.fingerprint) == 64
        assert model.ref.embed_dim > 0
        assert info.limits.max_items_per_call > 0
        assert info.limits.max_message_bytes > 2**20

    def test_embeddings_are_unit_float32_rows_in_the_order_given(self, service):
        pictures = [png(i) for i in range(5)]
        together = service.embed_images(pictures)
        dim = together.model.embed_dim
        assert together.embeddings.shape == (5, dim)
        assert together.embeddings.dtype == np.float32
        assert together.normalized
        np.testing.assert_allclose(np.linalg.norm(together.embeddings, axis=1), 1, atol=1e-5)
        for i, picture in enumerate(pictures):
            alone = service.embed_images([picture]).embeddings[0]
            np.testing.assert_allclose(alone, together.embeddings[i], atol=CLOSE)
        assert np.abs(together.embeddings[0] - together.embeddings[1]).max() > 10 * CLOSE

    def test_raw_embeddings_point_the_same_way(self, service):
        raw = service.embed_texts(["a dog"], normalize=False)
        unit = service.embed_texts(["a dog"])
        assert not raw.normalized
        direction = raw.embeddings[0] / np.linalg.norm(raw.embeddings[0])
        np.testing.assert_allclose(direction, unit.embeddings[0], atol=CLOSE)

    def test_a_picture_is_the_same_whichever_way_it_comes(self, service, tmp_path):
        path = tmp_path / "picture.png"
        path.write_bytes(png(3))
        ways = [png(3), bytearray(png(3)), path, str(path), pixels(3), Image.open(path)]
        found = service.embed_images(ways).embeddings
        for row in found[1:]:
            np.testing.assert_allclose(row, found[0], atol=CLOSE)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "YCbCr"])
    def test_pillow_images_of_any_mode_are_taken(self, service, mode):
        if mode == "I;16":
            image = Image.fromarray((np.arange(24 * 32).reshape(24, 32) * 80).astype(np.uint16))
        elif mode == "LA":
            image = Image.fromarray(pixels(1)).convert("L").convert("LA")
        else:
            image = Image.fromarray(pixels(1)).convert(mode)
        assert image.mode == mode
        assert np.isfinite(service.embed_images([image]).embeddings).all()

    def test_one_pixel_is_a_picture(self, service):
        assert np.isfinite(service.embed_images([np.full((1, 1, 3), 200, np.uint8)]).embeddings).all()

    def test_bad_pictures_fail_alone(self, service):
        good, broken = png(1), png(2)[:40]
        with pytest.raises(clipserve.BatchError) as caught:
            service.embed_images([good, b"", broken, b"not a picture", good])
        errors = caught.value.errors
        assert sorted(errors) == [1, 2, 3]
        for i, error in errors.items():
            assert isinstance(error, clipserve.ImageUnreadable)
            assert error.field == f"images[{i}].content"
            assert error.code == "INVALID_ARGUMENT"
        rows = caught.value.result.embeddings
        np.testing.assert_allclose(rows[0], rows[4], atol=CLOSE)
        assert np.isnan(rows[1:4]).all()

    def test_errors_can_be_returned_instead(self, service):
        result = service.classify([png(1), b"x"], ["cat", "dog"], on_error="return")
        assert result[0].error is None
        assert isinstance(result[1].error, clipserve.ImageUnreadable)
        assert list(result.errors) == [1]
        with pytest.raises(clipserve.ImageUnreadable):
            _ = result[1].label

    def test_long_lists_keep_their_order_and_positions(self, service):
        count = service.info().limits.max_items_per_call + 3
        pictures = [png(i % 7, 4, 4) for i in range(count)]
        pictures[count - 2] = b"broken"
        seen: list[int] = []
        result = service.embed_images(pictures, on_error="return", progress=seen.append)
        assert len(result) == count
        assert list(result.errors) == [count - 2]
        assert result.errors[count - 2].field == f"images[{count - 2}].content"
        np.testing.assert_allclose(
            result.embeddings[count - 1], result.embeddings[(count - 1) % 7], atol=CLOSE
        )
        assert seen == sorted(seen)
        assert seen[-1] == count

    def test_no_items_is_an_empty_answer(self, service):
        dim = service.embed_texts(["x"]).model.embed_dim
        assert service.embed_texts([]).embeddings.shape == (0, dim)
        assert len(service.classify([], ["cat"])) == 0

    def test_empty_and_endless_texts_are_taken(self, service):
        result = service.embed_texts(["", "word " * 20_000, "a dog"])
        assert np.isfinite(result.embeddings).all()
        assert result.truncated == (1,)

    def test_streamed_batches_equal_unary_ones(self, service):
        batches = [[png(i), png(i + 1)] for i in range(6)]
        streamed = list(service.embed_stream(batches))
        assert len(streamed) == 6
        for batch, result in zip(batches, streamed, strict=True):
            expected = service.embed_images(batch).embeddings
            np.testing.assert_allclose(result.embeddings, expected, atol=CLOSE)

    def test_streams_take_texts_bad_items_and_empty_batches(self, service):
        results = list(service.embed_stream([["a", "b"], [], ["c"]], kind="texts"))
        assert [len(result) for result in results] == [2, 0, 1]
        results = list(service.embed_stream([[b"x", png(1)], [png(2)]], on_error="return"))
        assert list(results[0].errors) == [0]
        assert results[0].errors[0].field == "images[0].content"
        assert not results[1].errors

    def test_softmax_probabilities_sum_to_one(self, service):
        result = service.classify([png(1), png(2)], ["cat", "dog", "car"], top_k=0)
        assert result.mode == "softmax"
        for item in result:
            assert sorted(score.index for score in item.scores) == [0, 1, 2]
            assert math.isclose(sum(score.probability for score in item.scores), 1, abs_tol=1e-4)
            cosines = [score.cosine for score in item.scores]
            assert cosines == sorted(cosines, reverse=True)
            logits = np.exp(result.logit_scale * np.array(cosines))
            np.testing.assert_allclose(
                [score.probability for score in item.scores], logits / logits.sum(), rtol=1e-2
            )

    def test_top_k_bounds_the_labels_returned(self, service):
        assert [len(item.scores) for item in service.classify([png(1)], list("abcdefgh"), top_k=3)] == [3]
        assert [len(item.scores) for item in service.classify([png(1)], list("abcdefgh"))] == [5]
        assert [len(item.scores) for item in service.classify([png(1)], ["a", "b"], top_k=99)] == [2]

    def test_independent_scores_have_verdicts_with_thresholds(self, service):
        result = service.classify([png(1)], ["cat", "dog"], mode="independent", thresholds=[-1.0, 1.0])
        verdicts = {score.label: score.above_threshold for score in result[0].scores}
        assert verdicts == {"cat": True, "dog": False}
        plain = service.classify([png(1)], ["cat", "dog"])
        assert all(score.above_threshold is None for score in plain[0].scores)

    def test_templates_change_the_scores(self, service):
        bare = service.classify([png(1)], ["cat", "dog"], templates=["{}"])
        drawn = service.classify([png(1)], ["cat", "dog"], templates=["a drawing of a {}.", "{} on a wall"])
        assert abs(bare[0].best.cosine - drawn[0].best.cosine) > 1e-4

    @pytest.mark.parametrize(
        ("labels", "kwargs", "field"),
        [
            ([], {}, "labels.names"),
            (["cat", "dog", "cat"], {}, "labels.names[2]"),
            (["cat", " "], {}, "labels.names[1]"),
            (["cat"], {"templates": ["no place"]}, "labels.templates[0]"),
            (["cat"], {"templates": ["{}", "{} {}"]}, "labels.templates[1]"),
            (["cat"], {"top_k": -1}, "top_k"),
            (["cat", "dog"], {"thresholds": [0.5]}, "labels.thresholds"),
        ],
    )
    def test_labels_that_cannot_be_are_refused(self, service, labels, kwargs, field):
        with pytest.raises(clipserve.InvalidArgument) as caught:
            service.classify([png(1)], labels, **kwargs)
        assert caught.value.field == field
        assert caught.value.violations[0].field == field
        assert caught.value.reason
        assert caught.value.request_id

    def test_too_many_labels_are_refused(self, service):
        limit = service.info().limits.max_labels
        with pytest.raises(clipserve.LimitExceeded):
            service.classify([png(1)], [f"label {i}" for i in range(limit + 1)])

    def test_unknown_models_and_collections_are_not_found(self, service):
        with pytest.raises(clipserve.ModelNotFound) as caught:
            service.embed_texts(["x"], model="no-such-model")
        assert caught.value.code == "NOT_FOUND"
        with pytest.raises(clipserve.CollectionNotFound):
            service.search("no_such_collection", text="x")
        with pytest.raises(clipserve.CollectionNotFound):
            service.get_collection("no_such_collection")

    def test_collections_are_made_listed_and_deleted(self, service, new_collection):
        made = new_collection()
        assert made.schema == SCHEMA
        assert made.metric == "cosine"
        assert made.count == 0
        assert service.get_collection(made.name).model == made.model
        new_collection(), new_collection()
        listed = [collection.name for collection in service.list_collections()]
        assert made.name in listed
        assert listed == sorted(listed)
        with pytest.raises(clipserve.CollectionExists):
            service.create_collection(made.name)
        service.delete_collection(made.name)
        with pytest.raises(clipserve.CollectionNotFound):
            service.get_collection(made.name)

    @pytest.mark.parametrize("name", ["", "ab", "1abc", "a-b-c", "a" * 65])
    def test_bad_collection_names_are_refused(self, service, name):
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.create_collection(name)
        assert caught.value.field == "name"

    def test_a_picture_is_its_own_nearest_neighbor(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        hits = service.search(name, image=png(4), top_k=3)
        assert len(hits) == 3
        assert hits[0].id == "p4"
        assert hits[0].score > 0.999
        assert hits[0].payload["year"] == 2024
        assert hits[0].payload["taken"] == NOON + dt.timedelta(days=4)
        assert hits[0].payload["tags"] == ["all", "tag4"]
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)

    def test_texts_and_embeddings_are_queries_too(self, service, new_collection):
        collection = new_collection()
        fill(service, collection.name)
        embedded = service.embed_images([png(2)])
        hits = service.search(
            collection.name,
            embedding=5 * embedded.embeddings[0],
            fingerprint=embedded.model.fingerprint,
            with_payload=False,
        )
        assert hits[0].id == "p2"
        assert hits[0].payload == {}
        assert len(service.search(collection.name, text="a dog", top_k=2)) == 2
        assert service.search(collection.name, text="word " * 500).truncated

    def test_score_thresholds_leave_out_worse_hits(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        assert ids(service.search(name, image=png(1), score_threshold=0.9999)) == {"p1"}

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (F("kind") == "odd", {1, 3, 5}),
            (F("kind") != "odd", {0, 2, 4}),
            (F("year").isin([2020, 2023]), {0, 3}),
            ((F("year") > 2021) & (F("year") <= 2024), {2, 3, 4}),
            ((F("year") < 2021) | (F("weight") >= 2.5), {0, 5}),
            (~(F("public") == True), {3, 4, 5}),  # noqa: E712
            (F("tags") == "tag3", {3}),
            (F("tags").isin(["tag1", "tag2"]), {1, 2}),
            (F("taken").between(NOON + dt.timedelta(days=1), NOON + dt.timedelta(days=2)), {1, 2}),
            (~((F("kind") == "odd") | (F("year") == 2020)), {2, 4}),
        ],
    )
    def test_filters_choose_points(self, service, new_collection, condition, expected):
        name = new_collection().name
        fill(service, name)
        wanted = {f"p{i}" for i in expected}
        assert ids(service.search(name, text="x", filter=condition)) == wanted
        assert service.count(name, condition) == len(expected)

    def test_filters_on_missing_fields_are_refused(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        with pytest.raises(clipserve.InvalidFilter) as caught:
            service.search(name, text="x", filter=F("nothing") == 1)
        assert caught.value.field == "filter.eq.field"

    def test_points_are_replaced_got_counted_and_deleted(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        service.upsert(name, [Point("p1", text="a dog", payload={"year": 1999})])
        assert service.count(name) == 6
        found = service.get_points(name, ["p1", "missing", "p0"], with_embeddings=True)
        assert [point.id for point in found] == ["p1", "p0"]
        assert found[0].payload == {"year": 1999}
        np.testing.assert_allclose(np.linalg.norm(found[0].embedding), 1, atol=1e-5)
        np.testing.assert_allclose(
            found[0].embedding, service.embed_texts(["a dog"]).embeddings[0], atol=CLOSE
        )
        assert service.get_points(name, ["p0"])[0].embedding is None
        assert service.delete_points(name, ["p0", "missing"]) == 1
        assert service.count(name) == 5

    def test_bad_points_fail_alone(self, service, new_collection):
        name = new_collection().name
        points = [
            Point("good", image=png(1)),
            Point("broken", image=b"no picture"),
            Point("", text="no id"),
            Point("x" * 513, text="id too long"),
            Point("unknown", text="field", payload={"nothing": 1}),
            Point("type", text="field", payload={"year": "1999"}),
            Point("zero", embedding=np.zeros(service.info().models[0].ref.embed_dim)),
            Point("last", text="fine"),
        ]
        result = service.upsert(name, points, on_error="return")
        assert result.written == 2
        assert {i: type(error) for i, error in result.errors.items()} == {
            1: clipserve.ImageUnreadable,
            2: clipserve.InvalidInput,
            3: clipserve.InvalidInput,
            4: clipserve.InvalidPayload,
            5: clipserve.InvalidPayload,
            6: clipserve.InvalidEmbedding,
        }
        assert result.errors[1].field == "points[1].image.content"
        assert result.errors[2].field == "points[2].id"
        assert service.count(name) == 2

    def test_embeddings_of_another_model_or_dimension_are_refused(self, service, new_collection):
        name = new_collection().name
        fill(service, name, 1)
        embedding = service.embed_texts(["x"]).embeddings[0]
        with pytest.raises(clipserve.FingerprintMismatch) as caught:
            service.search(name, embedding=embedding, fingerprint="0" * 64)
        assert caught.value.code == "FAILED_PRECONDITION"
        with pytest.raises(clipserve.FingerprintMismatch):
            service.upsert(name, [Point("a", embedding=embedding)], fingerprint="0" * 64)
        with pytest.raises(clipserve.DimensionMismatch):
            service.search(name, embedding=embedding[:-1])

    def test_negative_top_k_is_refused(self, service, new_collection):
        name = new_collection().name
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.search(name, text="x", top_k=-1)
        assert caught.value.field == "top_k"

    def test_a_jpeg_and_its_animation_are_pictures(self, service):
        frames = [Image.fromarray(pixels(i)) for i in range(3)]
        file = io.BytesIO()
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
        ways = [saved(frames[0], "JPEG"), saved(frames[0], "WEBP"), file.getvalue()]
        assert np.isfinite(service.embed_images(ways).embeddings).all()

    def test_info_names_the_engine(self, service):
        info = service.info()
        assert info.engine
        assert isinstance(info.keeps_sources, bool)
        assert info.limits.max_page_size > 0

    def test_an_alias_stands_for_its_collection(self, service, new_collection):
        name, alias = new_collection().name, new_alias()
        assert service.put_alias(alias, name) == ""
        fill(service, alias)
        found = service.get_collection(alias)
        assert (found.name, found.aliases, found.count) == (name, (alias,), 6)
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
        found = [point.id for point in service.scroll(name, page_size=4)]
        assert found == sorted(wanted, key=str.encode)
        assert [point.id for point in service.scroll(name)] == found

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
        found = [next(pages).id, next(pages).id]
        service.upsert(name, [Point("a", text="before"), Point("p11", text="replaced")])
        service.delete_points(name, ["p00", "p10"])
        found += [point.id for point in pages]
        assert len(found) == len(set(found))
        assert set(found) >= {f"p{i:02}" for i in range(12)} - {"p00", "p10"}

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

    def test_what_is_like_a_point_is_found_without_the_point(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        hits = service.search(name, like="p2", top_k=6)
        by_picture = service.search(name, image=png(2), top_k=6)
        assert [hit.id for hit in hits] == [hit.id for hit in by_picture if hit.id != "p2"]
        with pytest.raises(clipserve.PointNotFound) as caught:
            service.search(name, like="missing")
        assert caught.value.field == "like"

    def test_queries_are_weighed(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        alone = service.search(name, weighted=[Weighted(3, image=png(2))])
        plain = service.search(name, image=png(2))
        assert [hit.id for hit in alone] == [hit.id for hit in plain]
        np.testing.assert_allclose([h.score for h in alone], [h.score for h in plain], atol=CLOSE)
        rows = {point.id: point.embedding for point in service.scroll(name, with_embeddings=True)}
        total = rows["p1"] - 0.5 * rows["p4"]
        parts = [Weighted(1, embedding=rows["p1"]), Weighted(-0.5, image=png(4))]
        found = service.search(name, weighted=parts, top_k=6)
        scores = {hit.id: hit.score for hit in found}
        for id, row in rows.items():
            assert abs(scores[id] - row @ total / np.linalg.norm(total)) < 10 * CLOSE

    def test_points_that_a_weighted_query_names_are_left_out(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        parts = [Weighted(1, like="p1"), Weighted(1, like="p2"), Weighted(0.1, text="a dog")]
        assert ids(service.search(name, weighted=parts)) == {"p0", "p3", "p4", "p5"}

    def test_queries_that_cancel_out_are_refused(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.search(name, weighted=[Weighted(1, like="p1"), Weighted(-1, like="p1")])
        assert caught.value.field == "weighted.parts"
        with pytest.raises(clipserve.PointNotFound) as missing:
            service.search(name, weighted=[Weighted(1, like="p1"), Weighted(1, like="missing")])
        assert missing.value.field == "weighted.parts[1].like"
        with pytest.raises(clipserve.InvalidInput):
            service.search(name, weighted=[Weighted(1, text=f"{i}") for i in range(17)])

    def test_chosen_fields_of_the_payload_are_returned(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        hits = service.search(name, image=png(1), payload_fields=["year", "tags"])
        assert hits[0].payload == {"year": 2021, "tags": ["all", "tag1"]}
        with pytest.raises(clipserve.InvalidArgument):
            service.search(name, image=png(1), payload_fields=["nothing"])

    def test_strongly_consistent_searches_see_what_was_just_written(self, service, new_collection):
        name = new_collection().name
        for i in range(5):
            service.upsert(name, [Point(f"p{i}", image=png(i))])
            hits = service.search(name, image=png(i), consistency="strong", top_k=1)
            assert ids(hits) == {f"p{i}"}

    def test_near_duplicates_are_put_together(self, service, new_collection):
        name = new_collection().name
        fill(service, name)
        service.upsert(name, [Point(f"copy{i}", image=png(2), payload={"year": i}) for i in range(3)])
        apart = service.search(name, image=png(2), top_k=4)
        assert ids(apart) == {"p2", "copy0", "copy1", "copy2"}
        assert all(hit.duplicates == () for hit in apart)
        together = service.search(name, image=png(2), top_k=2, group_duplicates=0.9999)
        assert len(together) == 2
        first, second = together
        assert {first.id, *(hit.id for hit in first.duplicates)} == ids(apart)
        assert all(hit.payload for hit in first.duplicates)
        assert second.id not in ids(apart)
        assert len(service.search(name, image=png(2), group_duplicates=True)) <= 6

    def test_percentiles_rise_with_scores_and_are_for_single_queries(self, service, new_collection):
        name = new_collection().name
        fill(service, name, 30)
        for hits in (service.search(name, text="a dog", top_k=30), service.search(name, like="p3", top_k=30)):
            told = [hit.percentile for hit in hits if hit.percentile is not None]
            assert len(told) in (0, len(hits))
            assert told == sorted(told, reverse=True)
            assert all(0 <= percentile <= 100 for percentile in told)
        embedding = service.embed_images([png(1)]).embeddings[0]
        assert service.search(name, embedding=embedding)[0].percentile is None
        parts = [Weighted(1, text="a"), Weighted(1, text="b")]
        assert service.search(name, weighted=parts)[0].percentile is None

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
        found = {point.id: point for point in service.scroll(made.name, with_sources=True)}
        assert found["picture"].image == png(1)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found["pixels"].image))), pixels(2))
        assert found["text"].text == "a dög"
        assert found["text"].image is None
        assert (found["embedding"].image, found["embedding"].text) == (None, None)
        assert service.get_points(made.name, ["picture"], with_sources=True)[0].image == png(1)
        assert service.get_points(made.name, ["picture"])[0].image is None

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
        found = service.get_collection(name)
        assert found.index_status.state in ("none", "building", "ready")
        assert 0 <= found.index_status.indexed <= found.count == 6
        assert found.migration is None

    def test_label_sets_are_kept_under_names(self, service, new_name):
        name = new_name()
        labels = LabelSet(
            ("cat", "dog"),
            ("a photo of a {}.", "{}!"),
            (0.25, 0.5),
            NoneOfTheAbove("nothing", ("a photo.",), 0.125),
        )
        info, created = service.put_label_set(name, labels)
        assert created
        assert (info.name, info.version, info.label_count, info.template_count) == (name, 1, 2, 2)
        assert info.none_of_the_above
        assert info.versions == (1,)
        found = service.get_label_set(name)
        assert found.labels == labels
        assert found.info == info
        assert info in service.list_label_sets()

    def test_label_sets_have_versions(self, service, new_name):
        name = new_name()
        first, _ = service.put_label_set(name, ["cat", "dog"])
        again, created = service.put_label_set(name, ["cat", "dog"])
        assert (again, created) == (first, False)
        second, created = service.put_label_set(name, ["dog", "cat"])
        assert (second.version, second.versions, created) == (2, (1, 2), True)
        assert second.content_hash != first.content_hash
        assert service.get_label_set(name).labels.names == ("dog", "cat")
        assert service.get_label_set(name, 1).labels.names == ("cat", "dog")
        assert service.delete_label_set(name, 2) == 1
        assert service.get_label_set(name).info.version == 1
        third, _ = service.put_label_set(name, ["bird"])
        assert third.version == 3, "a number is never given twice"
        assert service.delete_label_set(name) == 2
        with pytest.raises(clipserve.LabelSetNotFound):
            service.get_label_set(name)
        with pytest.raises(clipserve.LabelSetNotFound):
            service.delete_label_set(name)

    def test_pictures_are_classified_by_stored_label_sets(self, service, new_name):
        name, templates = new_name(), ["a photo of a {}.", "a {}"]
        service.put_label_set(name, ["cat", "dog", "car"], templates=templates, thresholds=[-1, 1, -1])
        service.put_label_set(name, ["tree"])
        pictures = [png(i) for i in range(3)]
        kept = service.classify(pictures, label_set=f"{name}@1")
        given = service.classify(
            pictures, ["cat", "dog", "car"], templates=templates, thresholds=[-1.0, 1.0, -1.0]
        )
        assert kept.label_set == f"{name}@1"
        assert given.label_set is None
        for one, other in zip(kept, given, strict=True):
            assert [score.label for score in one.scores] == [score.label for score in other.scores]
            np.testing.assert_allclose(
                [s.cosine for s in one.scores], [s.cosine for s in other.scores], atol=CLOSE
            )
            assert {score.label: score.above_threshold for score in one.scores}["dog"] is False
        latest = service.classify(pictures, label_set=name)
        assert latest.label_set == f"{name}@2"
        assert latest[0].label == "tree"
        with pytest.raises(clipserve.LabelSetNotFound):
            service.classify(pictures, label_set=f"{name}@9")
        with pytest.raises(clipserve.LabelSetNotFound):
            service.classify(pictures, label_set=f"{name}-missing")

    def test_label_sets_that_cannot_be_are_not_kept(self, service, new_name):
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.put_label_set(new_name(), ["cat", "cat"])
        assert caught.value.field == "labels.names[1]"
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.put_label_set("no/name", ["cat"])
        assert caught.value.field == "name"
        none = NoneOfTheAbove("cat")
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.put_label_set(new_name(), LabelSet(("cat",), none_of_the_above=none))
        assert caught.value.field == "labels.none_of_the_above.name"

    def test_none_of_the_above_is_one_more_answer(self, service):
        plain = service.classify([png(1)], LabelSet(("cat", "dog"), none_of_the_above=NoneOfTheAbove()))
        scores = {score.index: score for score in plain[0].scores}
        assert sorted(scores) == [0, 1, 2]
        assert scores[2].label == "none of the above"
        assert math.isclose(sum(score.probability for score in scores.values()), 1, abs_tol=1e-4)
        none = NoneOfTheAbove("nothing", ("a photo of a cat.",), -1.0)
        named = service.classify(
            [png(1)], LabelSet(("cat", "dog"), ("a photo of a {}.",), (1.0, 1.0), none), mode="independent"
        )
        found = {score.label: score for score in named[0].scores}
        assert abs(found["nothing"].cosine - found["cat"].cosine) < CLOSE
        assert found["nothing"].above_threshold is True
        assert found["cat"].above_threshold is False

    def test_collections_move_to_another_model_and_back(self, service, new_collection):
        target = another_model(service)
        made = new_collection(keep_sources=True)
        name = made.name
        fill(service, name, 4)
        started = service.start_migration(name, target).migration
        assert (started.source, started.target.name, started.total) == (made.model, target, 4)
        with pytest.raises(clipserve.MigrationConflict):
            service.start_migration(name, target)
        ready = until_migrated(service, name)
        assert (ready.failed, ready.failures) == (0, ())
        assert ready.overlap.queries > 0
        assert service.search(name, image=png(3))[0].id == "p3"
        service.upsert(name, [Point("late", image=png(9))])
        switched = service.switch_migration(name)
        assert (switched.model.name, switched.migration.state) == (target, "switched")
        assert switched.model.fingerprint != made.model.fingerprint
        hits = service.search(name, image=png(9))
        assert (hits.model.name, hits[0].id, len(hits)) == (target, "late", 5)
        back = service.roll_back_migration(name)
        assert (back.model, back.migration.state) == (made.model, "ready")
        service.switch_migration(name)
        ended = service.end_migration(name)
        assert (ended.model.name, ended.migration) == (target, None)
        assert service.search(name, image=png(2))[0].id == "p2"

    def test_points_without_sources_keep_a_migration_from_switching(self, service, new_collection):
        target = another_model(service)
        made = new_collection(keep_sources=True)
        embedding = service.embed_texts(["x"]).embeddings[0]
        service.upsert(made.name, [Point("good", image=png(1)), Point("bare", embedding=embedding)])
        service.start_migration(made.name, target)
        ready = until_migrated(service, made.name)
        assert ready.failed == 1
        assert [failure.id for failure in ready.failures] == ["bare"]
        assert ready.failures[0].message
        with pytest.raises(clipserve.MigrationConflict):
            service.switch_migration(made.name)
        service.switch_migration(made.name, without_failed=True)
        assert [point.id for point in service.scroll(made.name)] == ["good"]
        service.roll_back_migration(made.name)
        assert service.count(made.name) == 2
        assert service.end_migration(made.name).model == made.model

    def test_collections_without_sources_do_not_move(self, service, new_collection):
        target = another_model(service)
        made = new_collection()
        fill(service, made.name, 2)
        with pytest.raises(clipserve.SourcesNotKept):
            service.start_migration(made.name, target)
        with pytest.raises(clipserve.ModelNotFound):
            service.start_migration(made.name, "no-such-model")
        with pytest.raises(clipserve.MigrationConflict):
            service.start_migration(made.name, made.model.name)
        for change in (service.switch_migration, service.roll_back_migration, service.end_migration):
            with pytest.raises(clipserve.MigrationConflict):
                change(made.name)
