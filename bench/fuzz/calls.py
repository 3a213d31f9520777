"""What is sent: calls made of a seed and a number, the same for the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from google.protobuf.message import Message

from bench.fuzz.messages import harmed_bytes, harmed_message, harmed_vector
from bench.fuzz.mutate import harmed, odd_text
from bench.fuzz.open import open_call
from testing.hostile.filters import FILTERS
from testing.hostile.images import IMAGES, SOUND
from testing.hostile.payloads import PAYLOADS
from testing.hostile.sound import sound
from testing.hostile.vectors import vectors
from testing.hostile.world import COLLECTION, KEPT, PICTURE, PICTURE_INPUT, TEXT_INPUT, axis, points

ITEMS = 24
"""Cases of one call that takes many."""
SEED_BYTES = 20_000
"""Files from which others are made have no more."""
KINDS = {"images": 43, "texts": 20, "vectors": 10, "payloads": 10, "filters": 4, "requests": 5, "bytes": 6}
KINDS |= {"open": 2}
"""Of a hundred cases."""
RARE = ("CollectionService/CreateCollection", "LabelSetService/PutLabelSet", "CollectionService/PutAlias")
"""What they make stays: they are called a fifth as often as others."""

Image, EmbedInput, PointInput = common_pb2.Image, clip_pb2.EmbedInput, collection_pb2.PointInput


@dataclass(frozen=True)
class Plan:
    """One call, and what is to be looked at in its answer."""

    number: int
    kind: str
    method: str
    request: bytes
    cases: int = 1
    paths: tuple[str, ...] = ()
    """Of the items that are cases, where there are several; beside them stand neighbors."""
    compressed: bool = False
    """How an open call is sent."""


class Plans:
    """Makes calls for a collection of so many dimensions."""

    def __init__(self, seed: int, dim: int, kinds: Sequence[str]) -> None:
        self._seed, self._dim = seed, dim
        self._sound_files = [make() for make in SOUND.values()]
        self._odd_files = [it.value for it in IMAGES if 0 < len(it.value) <= SEED_BYTES]
        self._sound = {method: it.request for method, it in sound(dim).items()}
        self._methods = [method for method in self._sound if method not in RARE] * 5 + list(RARE)
        self._odd_vectors = [it for it in vectors(dim) if it.value.ByteSize() <= SEED_BYTES]
        self._odd_payloads = [it for it in PAYLOADS if len(it.value) < 100]
        self._odd_filters = [it.value for it in FILTERS if it.value.ByteSize() <= SEED_BYTES]
        # A call of many cases stands for as many of one.
        single = ("filters", "requests", "bytes", "open")
        self._weights = {kind: KINDS[kind] * (ITEMS if kind in single else 1) for kind in kinds}

    def make(self, number: int) -> Plan:
        """The call of that number."""
        chance = Random(f"{self._seed}/{number}")
        [kind] = chance.choices(list(self._weights), list(self._weights.values()))
        if kind == "open":
            method, data, compressed = open_call(chance)
            return Plan(number, kind, method, data, compressed=compressed)
        method, request, paths = getattr(self, f"_{kind}")(chance)
        data = request if isinstance(request, bytes) else request.SerializeToString()
        return Plan(number, kind, method, data, len(paths) or 1, tuple(paths))

    def _images(self, chance: Random) -> tuple[str, Message, list[str]]:
        files = [chance.choice(chance.choice((self._sound_files, self._odd_files))) for _ in range(ITEMS)]
        images = [Image(content=harmed(file, self._sound_files, chance)) for file in files]
        way = chance.randrange(10)
        if way < 6:
            return embed([EmbedInput(image=image) for image in images], ".image", streamed=way == 0)
        if way < 8:
            labels = clip_pb2.LabelSet(names=["a cat", "a dog"])
            request = clip_pb2.ClassifyRequest(images=[*images, Image(content=PICTURE)], labels=labels)
            return "ClipService/Classify", request, [f"images[{i}]" for i in range(ITEMS)]
        return self._upsert([PointInput(id=f"image {i}", image=image) for i, image in enumerate(images)])

    def _texts(self, chance: Random) -> tuple[str, Message, list[str]]:
        texts = [odd_text(chance) for _ in range(ITEMS)]
        way = chance.randrange(10)
        if way < 6:
            return embed([EmbedInput(text=text) for text in texts], "", streamed=way == 0)
        if way < 8:
            return self._upsert([PointInput(id=f"text {i}", text=text) for i, text in enumerate(texts)])
        return self._upsert(
            [PointInput(id=text, embedding=axis(5, self._dim)) for text in dict.fromkeys(texts)]
        )

    def _vectors(self, chance: Random) -> tuple[str, Message, list[str]]:
        return self._upsert(
            [PointInput(id=f"vector {i}", embedding=self._embedding(chance)) for i in range(ITEMS)]
        )

    def _embedding(self, chance: Random) -> Message:
        if chance.random() < 0.3:
            return harmed_message(chance.choice(self._odd_vectors).value, chance)
        return common_pb2.Embedding(float32_le=harmed_vector(self._dim, chance))

    def _payloads(self, chance: Random) -> tuple[str, Message, list[str]]:
        found = []
        for i in range(ITEMS):
            payload = chance.choice(self._odd_payloads).value
            point = PointInput(id=f"payload {i}", embedding=axis(5, self._dim), payload=payload)
            made = harmed_message(point, chance)
            # Ids and embeddings are other kinds; here the payload is what is looked at.
            made.id = point.id
            made.embedding.CopyFrom(point.embedding)
            found.append(made)
        return self._upsert(found)

    def _upsert(self, found: Sequence[Message]) -> tuple[str, Message, list[str]]:
        sound = PointInput(id="a sound neighbor", embedding=axis(2, self._dim))
        paths = [f"points[{i}]" for i in range(len(found))]
        return "CollectionService/UpsertPoints", points(COLLECTION, [*found, sound]), paths

    def _filters(self, chance: Random) -> tuple[str, Message, list[str]]:
        filter = harmed_message(chance.choice(self._odd_filters), chance)
        way = chance.randrange(4)
        if way == 0:
            request: Message = clip_pb2.SearchRequest(collection=KEPT, like="kept 0", filter=filter)
            return "ClipService/Search", request, []
        if way == 1:
            request = collection_pb2.ScrollPointsRequest(collection=KEPT, filter=filter)
            return "CollectionService/ScrollPoints", request, []
        if way == 2:
            request = collection_pb2.DeletePointsRequest(collection=COLLECTION, filter=filter)
            return "CollectionService/DeletePoints", request, []
        return (
            "CollectionService/CountPoints",
            collection_pb2.CountPointsRequest(collection=KEPT, filter=filter),
            [],
        )

    def _requests(self, chance: Random) -> tuple[str, Message, list[str]]:
        method = chance.choice(self._methods)
        return method, harmed_message(self._sound[method], chance), []

    def _bytes(self, chance: Random) -> tuple[str, bytes, list[str]]:
        method = chance.choice(self._methods)
        own = self._sound[method].SerializeToString(deterministic=True)
        other = self._sound[chance.choice(self._methods)].SerializeToString(deterministic=True)
        return method, harmed_bytes([own, own, other], chance), []


def embed(inputs: Sequence[Message], end: str, *, streamed: bool) -> tuple[str, Message, list[str]]:
    """An Embed of inputs between the neighbors."""
    request = clip_pb2.EmbedRequest(inputs=[PICTURE_INPUT, *inputs, TEXT_INPUT])
    paths = [f"inputs[{i}]{end}" for i in range(1, len(inputs) + 1)]
    if streamed:
        return "ClipService/EmbedStream", clip_pb2.EmbedStreamRequest(batch_id=7, request=request), paths
    return "ClipService/Embed", request, paths
