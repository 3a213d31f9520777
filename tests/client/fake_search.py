"""Search of the fake server: compares every point, groups near-duplicates, and computes percentiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from client.fake_base import Refused, invalid
from client.fake_model import CONTEXT_WORDS, by_model, embed_text, unit
from client.fake_points import FakeCollection, FakePoint, FakeStore
from clipserve.v1 import clip_pb2, collection_pb2

EVERYDAY = (
    "a dog",
    "a house",
    "some food",
    "people in a street",
    "a tree",
    "a blue car",
    "the sea",
    "a book",
)
FEWEST_POINTS = 20
"""Minimum number of points for percentiles."""
COMPARED = 50
"""Maximum number of points that are compared for groups."""
GOOD_PERCENTILE = 95


def search(store: FakeStore, request: Any, limits: clip_pb2.Limits) -> clip_pb2.SearchResponse:
    """The nearest points."""
    collection = store.get(request.collection)
    if request.top_k < 0:
        raise invalid("INVALID_INPUT", "top_k must not be negative", "top_k")
    for i, name in enumerate(request.payload_fields):
        if name not in collection.schema:
            raise invalid("INVALID_INPUT", f"no field {name!r}", f"payload_fields[{i}]")
    if request.fingerprint not in ("", collection.model.fingerprint):
        raise Refused("FAILED_PRECONDITION", "FINGERPRINT_MISMATCH", "another model", "fingerprint")
    parts = parts_of(request)
    vector = query_vector(store, collection, parts, limits)
    named = {part.like for part, kind, _, _ in parts if kind == "like"}
    points = collection.matching(request.filter if request.HasField("filter") else None)
    scored = [(float(point.vector(collection.model) @ vector), point) for point in points]
    scored = sorted(
        ((score, point) for score, point in scored if point.id not in named),
        key=lambda pair: (-pair[0], pair[1].id),
    )
    if request.HasField("score_threshold"):
        scored = [(score, point) for score, point in scored if score >= request.score_threshold]
    groups = grouped(scored, request, collection)[: request.top_k or 10]
    background = pairs_of(collection, kind_of(parts))
    texts = [part.text.split() for part, kind, _, _ in parts if kind == "text"]
    hits = [write_hit(group, request, background) for group in groups]
    return clip_pb2.SearchResponse(
        hits=hits,
        model=collection.model,
        truncated=any(len(words) > CONTEXT_WORDS for words in texts),
        incomplete=request.group_duplicates and len(scored) > COMPARED,
        weak_match=bool(hits) and background is not None and hits[0].percentile < GOOD_PERCENTILE,
    )


def parts_of(request: Any) -> list[tuple[Any, str, float, str]]:
    """Message, kind, weight and path of each part of a query."""
    kind = request.WhichOneof("query")
    if kind is None:
        raise invalid("INVALID_INPUT", "set one query", "query")
    if kind != "weighted":
        return [(request, kind, 1.0, "")]
    parts = request.weighted.parts
    if not 1 <= len(parts) <= 16:
        raise invalid("INVALID_INPUT", "1 to 16 parts", "weighted.parts")
    for i, part in enumerate(parts):
        if not math.isfinite(part.weight) or not part.weight:
            raise invalid("INVALID_INPUT", "a weight is finite, not 0", f"weighted.parts[{i}].weight")
    return [
        (part, part.WhichOneof("part"), part.weight, f"weighted.parts[{i}]") for i, part in enumerate(parts)
    ]


def query_vector(
    store: FakeStore, collection: FakeCollection, parts: list[tuple[Any, str, float, str]], limits: Any
) -> np.ndarray:
    """float32 [DIM], length 1: the weighted sum of the parts."""
    total = np.zeros(collection.model.embed_dim, np.float32)
    for part, kind, weight, path in parts:
        try:
            if kind == "like":
                if part.like not in collection.points:
                    raise Refused("NOT_FOUND", "POINT_NOT_FOUND", f"no point {part.like!r}", "like")
                vector = collection.points[part.like].vector(collection.model)
            else:
                vector = store.vector(part, kind, collection.model)
        except Refused as refused:
            raise refused.at(path) if path else refused from None
        total += np.float32(weight) * vector
    if np.linalg.norm(total) < 1e-3:
        raise invalid("INVALID_INPUT", "the parts cancel each other out", "weighted.parts")
    return unit(total)


def grouped(
    scored: list[tuple[float, FakePoint]], request: Any, collection: FakeCollection
) -> list[list[tuple[float, FakePoint]]]:
    """Groups of hits, each with its best hit first; groups of one hit without group_duplicates."""
    if not 0 <= request.duplicate_threshold <= 1:
        raise invalid("INVALID_INPUT", "above 0 to 1", "duplicate_threshold")
    groups: list[list[tuple[float, FakePoint]]] = []
    threshold = request.duplicate_threshold or 0.95
    for score, point in scored:
        vector = point.vector(collection.model)
        near = (g for g in groups if g[0][1].vector(collection.model) @ vector >= threshold)
        group = next(near, None) if request.group_duplicates else None
        if group is None:
            groups.append([(score, point)])
        else:
            group.append((score, point))
    return groups


def kind_of(parts: list[tuple[Any, str, float, str]]) -> str | None:
    """The kind of unrelated pairs for a query's percentiles."""
    if len(parts) > 1 or parts[0][1] == "embedding":
        return None
    return "text" if parts[0][1] == "text" else "image"


def pairs_of(collection: FakeCollection, kind: str | None) -> np.ndarray | None:
    """float32 [pairs], sorted: cosines of unrelated pairs; empty for too few points."""
    points = list(collection.points.values())
    if kind is None or len(points) < FEWEST_POINTS:
        return None
    matrix = np.stack([point.vector(collection.model) for point in points])
    if kind == "text":
        texts = np.stack([unit(by_model(collection.model.name, embed_text(text))) for text in EVERYDAY])
        return np.sort((texts @ matrix.T).ravel())
    return np.sort((matrix @ matrix.T)[np.triu_indices(len(points), 1)])


def statistics(collection: FakeCollection) -> list[collection_pb2.ScoreStatistics]:
    """The distribution of the cosines of unrelated pairs."""
    statistics = []
    for kind in ("text", "image"):
        pairs = pairs_of(collection, kind)
        if pairs is not None:
            p50, p95, p99, p999 = np.quantile(pairs, (0.5, 0.95, 0.99, 0.999))
            spread = {"mean": pairs.mean(), "stddev": pairs.std(), "p50": p50, "p95": p95, "p99": p99}
            statistics.append(
                collection_pb2.ScoreStatistics(query=kind, pairs=len(pairs), p999=p999, **spread)
            )
    return statistics


def write_hit(
    group: list[tuple[float, FakePoint]], request: Any, background: np.ndarray | None
) -> clip_pb2.SearchHit:
    """A hit with its near-duplicates."""
    (score, point), *others = group
    hit = clip_pb2.SearchHit(id=point.id, score=score)
    if not request.omit_payload:
        for name, value in point.payload.items():
            if not request.payload_fields or name in request.payload_fields:
                hit.payload[name].CopyFrom(value)
    if background is not None:
        hit.percentile = 100 * np.searchsorted(background, np.float32(score)) / len(background)
    hit.duplicates.extend(write_hit([other], request, background) for other in others[:100])
    return hit
