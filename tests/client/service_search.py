"""Cases of searches by likeness, weighted, grouped and judged. See service_cases.py."""

from __future__ import annotations

import clipserve
import numpy as np
import pytest
from client.pictures import png
from client.service_support import (
    CLOSE,
    fill,
    ids,
)
from clipserve import Point, Weighted


class SearchCases:
    """Cases for a server at `address`."""

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
        result = service.search(name, weighted=parts, top_k=6)
        scores = {hit.id: hit.score for hit in result}
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
        with pytest.raises(clipserve.InvalidArgument):
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
            assert len(told) == len(hits), "the first search too"
            assert told == sorted(told, reverse=True)
            assert all(0 <= percentile <= 100 for percentile in told)
            assert hits.weak_match == (told[0] < 95)
        embedding = service.embed_images([png(1)]).embeddings[0]
        assert service.search(name, embedding=embedding)[0].percentile is None
        parts = [Weighted(1, text="a"), Weighted(1, text="b")]
        assert service.search(name, weighted=parts)[0].percentile is None
