"""What every clipserve server must do, tested through the SDK.

The same cases run against the fake server here and against a real one in the end-to-end tests. To run them,
subclass ServiceCases and provide a fixture `address` with HOST:PORT. They assume only that different images
have different embeddings.
"""

from __future__ import annotations

import datetime as dt
import io
import math

import clipserve
import numpy as np
import pytest
from client.pictures import pixels, png, saved
from client.service_collections import CollectionCases
from client.service_embeddings import EmbeddingCases
from client.service_labels import LabelSetCases
from client.service_migration import MigrationCases
from client.service_search import SearchCases
from client.service_support import (
    CLOSE,
    NOON,
    SCHEMA,
    fill,
    ids,
    new_collection,
    new_name,
    service,
)
from clipserve import F, Point, Weighted
from PIL import Image

__all__ = ["ServiceCases", "new_collection", "new_name", "service"]


class ServiceCases(EmbeddingCases, CollectionCases, SearchCases, LabelSetCases, MigrationCases):
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
        embeddings = service.embed_images(ways).embeddings
        for row in embeddings[1:]:
            np.testing.assert_allclose(row, embeddings[0], atol=CLOSE)

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

    def test_texts_of_points_that_lose_their_end_are_told(self, service, new_collection):
        collection = new_collection()
        points = [
            Point("a", text="a dog"),
            Point("b", text="word " * 500),
            Point("c", image=png(1)),
            Point("d", text="word " * 200),
        ]
        assert service.upsert(collection.name, points).truncated == (1, 3)
        [first, second] = service.upsert_stream(collection.name, [points[:2], points[2:]])
        assert (first.truncated, second.truncated) == ((1,), (1,))

    def test_a_text_that_looks_like_a_picture_is_told_once_for_all(self, service, new_collection):
        texts = ["a dog", "https://example.org/dove.jpg", "data:image/png;base64," + "A" * 10_000]
        with pytest.warns(clipserve.InputWarning, match=r"texts\[1\] looks like a URL") as warned:
            service.embed_texts(texts)
        assert len(warned) == 1
        assert warned[0].filename == __file__
        assert "1 more" in str(warned[0].message)
        collection = new_collection()
        with pytest.warns(clipserve.InputWarning, match="text looks like a data URI"):
            service.search(collection.name, text=texts[2])
        with pytest.warns(clipserve.InputWarning, match=r"weighted\[1\].text looks like a URL"):
            service.search(collection.name, weighted=[Weighted(1, text="a"), Weighted(1, text=texts[1])])
        with pytest.warns(clipserve.InputWarning, match=r"points\[0\].text looks like the path of a file"):
            service.upsert(collection.name, [Point("a", text=__file__)])
        with pytest.warns(clipserve.InputWarning, match=r"labels\[1\] looks like a URL"):
            service.classify([png(1)], ["dog", texts[1]])

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

    @pytest.mark.parametrize("name", ["", "ab", "1abc", "-abc", "a.b.c", "a" * 65])
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
        points = service.get_points(name, ["p1", "missing", "p0"], with_embeddings=True)
        assert [point.id for point in points] == ["p1", "p0"]
        assert points[0].payload == {"year": 1999}
        np.testing.assert_allclose(np.linalg.norm(points[0].embedding), 1, atol=1e-5)
        np.testing.assert_allclose(
            points[0].embedding, service.embed_texts(["a dog"]).embeddings[0], atol=CLOSE
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
