"""Service cases: small forms and few dimensions of embeddings."""

from __future__ import annotations

import clipserve
import numpy as np
import pytest
from client.pictures import png
from clipserve import dequantize

TEXTS = ["a dog", "a cat", "word " * 500]


def cosines(rows, others):
    """Cosine of each row with its counterpart."""
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    return (rows * others).sum(axis=1) / lengths


class EmbeddingCases:
    """Cases for embeddings."""

    @pytest.mark.parametrize(
        ("format", "dtype", "bits", "least"),
        [
            ("float32", np.float32, 32, 1 - 1e-5),
            ("float16", np.float16, 16, 1 - 1e-5),
            ("int8", np.int8, 8, 0.99),
            ("uint8", np.uint8, 8, 0.99),
            ("binary", np.int8, 1, 0.5),
            ("ubinary", np.uint8, 1, 0.5),
        ],
    )
    def test_small_forms_point_the_same_way(self, service, format, dtype, bits, least):
        whole = service.embed_texts(TEXTS)
        small = service.embed_texts(TEXTS, format=format)
        assert small.embeddings.dtype == dtype
        assert small.embeddings.nbytes * 8 == whole.embeddings.size * bits
        assert (small.dimensions, small.format) == (whole.model.embed_dim, format)
        assert cosines(small.floats, whole.embeddings).min() >= least

    def test_integers_of_different_calls_compare(self, service):
        """The scale does not depend on the call."""
        pictures = [png(i) for i in range(4)]
        together = service.embed_images(pictures, format="int8").embeddings.astype(np.int64)
        alone = service.embed_images(pictures[3:], format="int8").embeddings.astype(np.int64)
        assert np.abs(together[3] - alone[0]).max() <= 1
        exact = service.embed_images(pictures).embeddings
        np.testing.assert_allclose(together @ alone[0] / 127**2, exact @ exact[3], atol=0.02)

    def test_the_first_dimensions_are_normalized_again(self, service):
        whole = service.embed_texts(TEXTS).embeddings
        few = service.embed_texts(TEXTS, dimensions=8, allow_truncation=True)
        assert few.embeddings.shape == (3, 8)
        expected = whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
        np.testing.assert_allclose(few.embeddings, expected, atol=1e-3)
        [bits] = service.embed_stream(
            [TEXTS], kind="texts", dimensions=8, allow_truncation=True, format="ubinary"
        )
        assert bits.embeddings.shape == (3, 1)
        assert bits.dimensions == 8

    def test_a_model_that_was_not_trained_for_it_needs_permission_to_be_truncated(self, service):
        with pytest.raises(clipserve.InvalidInput, match="allow_truncation") as caught:
            service.embed_texts(TEXTS, dimensions=8)
        assert caught.value.field == "dimensions"
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.embed_texts(TEXTS, dimensions=100_000, allow_truncation=True)
        assert caught.value.field == "dimensions"

    def test_integers_need_normalized_embeddings(self, service):
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.embed_texts(TEXTS, format="int8", normalize=False)
        assert caught.value.field == "raw"

    def test_failed_rows_of_integers_are_zeros(self, service):
        result = service.embed_images([png(1), b"x"], format="int8", on_error="return")
        assert result.embeddings[0].any()
        assert not result.embeddings[1].any()
        assert np.isnan(result.floats[1]).all()

    def test_tokens_of_texts_are_told(self, service):
        context = service.info().models[0].context_length
        result = service.embed_texts(["", "a", "a b c", "word " * 500])
        assert result.tokens[0] < result.tokens[1] < result.tokens[2] < result.tokens[3] == context
        assert service.embed_images([png(1)]).tokens == (0,)

    def test_small_forms_are_queries_once_they_are_floats_again(self, service, new_collection):
        collection = new_collection()
        service.upsert(collection.name, [clipserve.Point(f"{i}", image=png(i)) for i in range(5)])
        for format in ("int8", "uint8"):
            query = service.embed_images([png(3)], format=format)
            hits = service.search(collection.name, embedding=dequantize(query.embeddings[0], format))
            assert hits[0].id == "3"
            assert hits[0].score > 0.98
