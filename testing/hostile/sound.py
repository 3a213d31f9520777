"""One sound request of every method: what damage is done to."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from clipserve.v1 import clip_pb2, collection_pb2, common_pb2, labels_pb2
from google.protobuf.message import Message

from testing.hostile.filters import YEAR, all_of, among, between, eq
from testing.hostile.payloads import SCHEMA, Value, tags, text
from testing.hostile.world import ALIAS, COLLECTION, KEPT, LABELS, PICTURE, WORDS, axis, points

SCRATCH = "hostile_scratch"
"""A name for what is made and deleted."""


@dataclass(frozen=True)
class Sound:
    """A request, and what it ends with in a world that has been built."""

    request: Message
    code: str = "OK"
    reason: str = ""
    field: str = ""


@functools.cache
def sound(dim: int) -> Mapping[str, Sound]:
    """A request of each method."""
    image = common_pb2.Image(content=PICTURE)
    labels = clip_pb2.LabelSet(names=["a cat", "a dog"], templates=["{}", "a {}"], thresholds=[0.1, 0.2])
    labels.none_of_the_above.prompts.append("a photo")
    embed = clip_pb2.EmbedRequest(
        model="", inputs=[clip_pb2.EmbedInput(image=image), clip_pb2.EmbedInput(text=WORDS)], format=1
    )
    filter = all_of(eq("name", text("a")), among("tags", text("x")), between("year", gte=YEAR))
    search = clip_pb2.SearchRequest(collection=KEPT, top_k=3, filter=filter, payload_fields=["name"])
    for part in (
        clip_pb2.WeightedPart(weight=1, text=WORDS),
        clip_pb2.WeightedPart(weight=-0.5, embedding=axis(0, dim)),
        clip_pb2.WeightedPart(weight=0.2, like="kept 1"),
    ):
        search.weighted.parts.append(part)
    payload = {"name": text("n"), "year": Value(int_value=1), "tags": tags("a", "b")}
    upsert = points(
        COLLECTION,
        [
            collection_pb2.PointInput(id="made of a vector", embedding=axis(1, dim), payload=payload),
            collection_pb2.PointInput(id="made of a text", text=WORDS, source_uri="file:///a.txt"),
        ],
    )
    options = collection_pb2.IndexOptions(m=16, ef_construction=100, ef_search=100)
    create = collection_pb2.CreateCollectionRequest(name=COLLECTION, schema=SCHEMA, index_options=options)
    ref = clip_pb2.LabelSetRef(name=LABELS)
    ours = collection_pb2
    found = {
        "ClipService/Classify": Sound(clip_pb2.ClassifyRequest(images=[image], labels=labels, top_k=2)),
        "ClipService/Embed": Sound(embed),
        "ClipService/EmbedStream": Sound(clip_pb2.EmbedStreamRequest(batch_id=1, request=embed)),
        "ClipService/Search": Sound(search),
        "ClipService/GetServerInfo": Sound(clip_pb2.GetServerInfoRequest()),
        "LabelSetService/PutLabelSet": Sound(labels_pb2.PutLabelSetRequest(name=SCRATCH, labels=labels)),
        "LabelSetService/GetLabelSet": Sound(labels_pb2.GetLabelSetRequest(ref=ref)),
        "LabelSetService/ListLabelSets": Sound(labels_pb2.ListLabelSetsRequest(page_size=2)),
        "LabelSetService/DeleteLabelSet": Sound(
            labels_pb2.DeleteLabelSetRequest(ref=clip_pb2.LabelSetRef(name="hostile_nothing")),
            "NOT_FOUND",
            "LABEL_SET_NOT_FOUND",
            "ref.name",
        ),
    }
    gone = ("NOT_FOUND", "COLLECTION_NOT_FOUND", "name")
    still = ("FAILED_PRECONDITION", "MIGRATION_CONFLICT", "collection")
    there = {"collection": COLLECTION}
    of_collections: dict[str, Sound] = {
        "CreateCollection": Sound(create, "ALREADY_EXISTS", "COLLECTION_EXISTS", "name"),
        "GetCollection": Sound(ours.GetCollectionRequest(name=COLLECTION)),
        "ListCollections": Sound(ours.ListCollectionsRequest(page_size=2)),
        "DeleteCollection": Sound(ours.DeleteCollectionRequest(name=SCRATCH), *gone),
        "PutAlias": Sound(ours.PutAliasRequest(alias=ours.Alias(name=ALIAS, **there))),
        "DeleteAlias": Sound(ours.DeleteAliasRequest(name=SCRATCH), "NOT_FOUND", "ALIAS_NOT_FOUND", "name"),
        "ListAliases": Sound(ours.ListAliasesRequest(page_size=2)),
        "UpsertPoints": Sound(upsert),
        "UpsertPointsStream": Sound(ours.UpsertPointsStreamRequest(batch_id=1, request=upsert)),
        "DeletePoints": Sound(ours.DeletePointsRequest(ids=["made of a text", "nothing"], **there)),
        "GetPoints": Sound(ours.GetPointsRequest(ids=["kept 0"], with_embeddings=True, **there)),
        "ScrollPoints": Sound(ours.ScrollPointsRequest(collection=ALIAS, filter=filter, page_size=2)),
        "CountPoints": Sound(ours.CountPointsRequest(filter=filter, **there)),
        "GetThumbnail": Sound(
            ours.GetThumbnailRequest(id="kept 0", **there),
            "FAILED_PRECONDITION",
            "SOURCES_NOT_KEPT",
            "collection",
        ),
        "StartMigration": Sound(
            ours.StartMigrationRequest(to_model="nope", **there), "NOT_FOUND", "MODEL_NOT_FOUND", "to_model"
        ),
        "SwitchMigration": Sound(ours.SwitchMigrationRequest(**there), *still),
        "RollBackMigration": Sound(ours.RollBackMigrationRequest(**there), *still),
        "EndMigration": Sound(ours.EndMigrationRequest(**there), *still),
    }
    return found | {f"CollectionService/{method}": it for method, it in of_collections.items()}
