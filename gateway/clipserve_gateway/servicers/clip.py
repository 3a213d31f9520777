"""ClipService: classify, embed, search, and the capabilities of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from clipserve.v1 import clip_pb2

import clipserve_gateway
from clipserve_gateway.access.call import Call
from clipserve_gateway.access.caller import visible
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.collection.read_size import bytes_to_read
from clipserve_gateway.collection.search import Searcher
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.convert import clip as convert
from clipserve_gateway.convert import embed_call
from clipserve_gateway.convert.search import read_search, write_search, write_steps
from clipserve_gateway.errors import CollectionNotFound
from clipserve_gateway.flow.admission import Cost, cost_of
from clipserve_gateway.index.base import Engine
from clipserve_gateway.inference.classifier import SCORES_ON_LOOP, Classifier
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.process.off_loop import STEPS_OF_AN_INPUT, off_loop
from clipserve_gateway.servicers.ordered_stream import answer_batch, in_order
from clipserve_gateway.triton.models import Models
from clipserve_gateway.types import ImageRules

NUMBERS_IN_A_STEP = 64
"""Numbers of an embedding that count as one step of off_loop."""


class ClassifyServicer:
    """Classify and PrepareLabels of ClipService."""

    def __init__(self, classifier: Classifier, label_sets: LabelSets, calls: Calls) -> None:
        self._classifier = classifier
        self._label_sets = label_sets
        self._calls = calls
        # Large answers are written one at a time: each further thread would delay the event loop.
        self._writing = asyncio.Lock()

    async def Classify(
        self, request: clip_pb2.ClassifyRequest, call: Call
    ) -> clip_pb2.ClassifyResponse | bytes:
        """Scores every image against every label. The answer is encoded if it is large."""
        limits = self._calls.limits
        steps = len(request.labels.names) + len(request.labels.templates)
        steps += STEPS_OF_AN_INPUT * len(request.images)
        query = await off_loop(steps, lambda: convert.read_classify(request, limits))
        async with self._calls.admit(cost_of(query.images), call) as deadline:
            labels, ref = await self._label_sets.resolve(query.labels, query.label_set_ref)
            await off_loop(len(labels.names), lambda: convert.check_classify_answer(query, labels, limits))
            outcome = await self._classifier.classify(
                query.model,
                query.images,
                labels,
                top_k=query.top_k,
                mode=query.mode,
                deadline=deadline,
                ref=ref,
            )
            self._calls.count_errors(item.error for item in outcome.items)
            if sum(len(item.scores) for item in outcome.items) <= SCORES_ON_LOOP:
                return convert.write_classify(outcome, ref)
            async with self._writing:
                return await asyncio.to_thread(convert.write_classify, outcome, ref)

    async def PrepareLabels(
        self, request: clip_pb2.PrepareLabelsRequest, call: Call
    ) -> clip_pb2.PrepareLabelsResponse:
        """Encodes labels ahead of Classify, and keeps them for some time."""
        steps = len(request.labels.names) + len(request.labels.templates)
        query = await off_loop(steps, lambda: convert.read_prepare(request, self._calls.limits))
        async with self._calls.admit(Cost(1, 0), call) as deadline:
            labels, ref = await self._label_sets.resolve(query.labels, query.label_set_ref)
            spec, prepared = await self._classifier.prepare(
                query.model, labels, seconds=query.seconds, deadline=deadline, ref=ref
            )
        return convert.write_prepared(spec, prepared, ref)


class EmbedServicer:
    """Embed and EmbedStream of ClipService."""

    def __init__(self, models: Models, embedder: Embedder, calls: Calls) -> None:
        self._models = models
        self._embedder = embedder
        self._calls = calls

    async def Embed(
        self, request: clip_pb2.EmbedRequest, call: Call, *, wait_for_room: bool = False
    ) -> clip_pb2.EmbedResponse:
        """Embeds any mix of images and texts."""
        limits = self._calls.limits
        steps = STEPS_OF_AN_INPUT * len(request.inputs)
        query = await off_loop(steps, lambda: embed_call.read_embed(request, limits))
        embed_call.check_embed_answer(query, self._models.get(query.model), limits)
        cost = cost_of(query.inputs)
        async with self._calls.admit(cost, call, wait_for_room=wait_for_room) as deadline:
            outcome = await self._embedder.embed(
                *(query.model, query.inputs),
                normalize=query.normalize,
                dimensions=query.dimensions,
                deadline=deadline,
            )
        self._calls.count_errors(item.error for item in outcome.items)
        numbers = len(outcome.items) * outcome.spec.embed_dim
        return await off_loop(numbers // NUMBERS_IN_A_STEP, lambda: embed_call.write_embed(outcome, query))

    async def EmbedStream(
        self, requests: AsyncIterator[clip_pb2.EmbedStreamRequest], call: Call
    ) -> AsyncIterator[clip_pb2.EmbedStreamResponse]:
        """Embeds batch after batch. A refused batch is answered with its status, and the stream continues."""

        async def answer(request: clip_pb2.EmbedStreamRequest) -> clip_pb2.EmbedStreamResponse:
            return await answer_batch(
                *(self._calls, call, request, clip_pb2.EmbedStreamResponse),
                lambda batch: self.Embed(batch, call, wait_for_room=True),
            )

        async for response in in_order(requests, answer, window=self._calls.limits.stream_window):
            yield response


class SearchServicer:
    """Search of ClipService."""

    def __init__(self, searcher: Searcher, catalog: Catalog, calls: Calls) -> None:
        self._searcher = searcher
        self._catalog = catalog
        self._calls = calls

    async def Search(self, request: clip_pb2.SearchRequest, call: Call) -> bytes:
        """Finds the points nearest to the query. The answer is encoded."""
        collection = await self._catalog.get(request.collection)
        try:
            return await self._search(request, collection, call)
        except CollectionNotFound:
            # An alias may have moved to another collection before its old one was deleted.
            current = await self._catalog.get(request.collection)
            if current.name == collection.name:
                raise
            return await self._search(request, current, call)

    async def _search(self, request: clip_pb2.SearchRequest, collection: CollectionSpec, call: Call) -> bytes:
        limits = self._calls.limits
        query = read_search(request, collection, limits)
        cost = cost_of(part.source for part in query.parts)
        reads = bytes_to_read(query.max_hits, limits, with_payload=query.with_payload)
        async with self._calls.admit(cost, call, reads=reads) as deadline:
            outcome = await self._searcher.search(query, deadline=deadline)
        return await off_loop(write_steps(outcome), lambda: write_search(outcome, limits).SerializeToString())


class ServerInfoServicer:
    """GetServerInfo of ClipService."""

    def __init__(self, models: Models, engine: Engine, calls: Calls, rules: ImageRules) -> None:
        self._models = models
        self._engine = engine
        self._calls = calls
        self._rules = rules

    async def GetServerInfo(
        self, request: clip_pb2.GetServerInfoRequest, call: Call
    ) -> clip_pb2.GetServerInfoResponse:
        """Returns the models that the caller may use, their fingerprints, and the limits."""
        default, sees_model = self._models.default, visible().sees_model
        return convert.write_server_info(
            clipserve_gateway.__version__,
            [(spec, ready) for spec, ready in self._models.all() if sees_model(spec.name)],
            default if sees_model(default) else "",
            self._calls.limits,
            self._engine.name,
            self._engine.keeps_sources,
            self._rules,
        )
