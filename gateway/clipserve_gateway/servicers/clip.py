"""ClipService: classify, embed, search, and what the server can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from clipserve.v1 import clip_pb2, clip_pb2_grpc
from grpc.aio import ServicerContext

import clipserve_gateway
from clipserve_gateway.access.authorizer import judged
from clipserve_gateway.access.caller import visible
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.collection.read_size import bytes_to_read
from clipserve_gateway.collection.search import Searcher
from clipserve_gateway.convert import clip as convert
from clipserve_gateway.convert.search import read_search, write_search, write_steps
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow.admission import Cost, cost_of
from clipserve_gateway.index.base import Engine
from clipserve_gateway.inference.classifier import SCORES_ON_LOOP, Classifier
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.process.off_loop import STEPS_OF_AN_INPUT, off_loop
from clipserve_gateway.servicers.admitted_call import Calls
from clipserve_gateway.servicers.ordered_stream import in_order
from clipserve_gateway.triton.models import Models
from clipserve_gateway.types import Limits

NUMBERS_IN_A_STEP = 64
"""Of an embedding, as far as off_loop counts."""


class ClipServicer(clip_pb2_grpc.ClipServiceServicer):
    """See protos/clipserve/v1/clip.proto."""

    def __init__(
        self,
        models: Models,
        embedder: Embedder,
        classifier: Classifier,
        label_sets: LabelSets,
        searcher: Searcher,
        engine: Engine,
        limits: Limits,
        calls: Calls,
    ) -> None:
        self._models = models
        self._embedder = embedder
        self._classifier = classifier
        self._label_sets = label_sets
        self._searcher = searcher
        self._engine = engine
        self._limits = limits
        self._calls = calls
        # Large answers are written one at a time: each further thread would delay the event loop.
        self._writing = asyncio.Lock()

    async def Classify(
        self, request: clip_pb2.ClassifyRequest, context: ServicerContext
    ) -> clip_pb2.ClassifyResponse | bytes:
        """Scores every image against every label. The answer is encoded already."""
        steps = len(request.labels.names) + len(request.labels.templates)
        steps += STEPS_OF_AN_INPUT * len(request.images)
        call = await off_loop(steps, lambda: convert.read_classify(request, self._limits))
        async with self._calls.place(cost_of(call.images), context) as deadline:
            labels, ref = await self._label_sets.resolve(call.labels, call.label_set_ref)
            await off_loop(
                len(labels.names), lambda: convert.check_classify_answer(call, labels, self._limits)
            )
            outcome = await self._classifier.classify(
                call.model,
                call.images,
                labels,
                top_k=call.top_k,
                mode=call.mode,
                deadline=deadline,
                ref=ref,
            )
            self._calls.count_errors(item.error for item in outcome.items)
            if sum(len(item.scores) for item in outcome.items) <= SCORES_ON_LOOP:
                return convert.write_classify(outcome, call.mode, ref)
            async with self._writing:
                return await asyncio.to_thread(convert.write_classify, outcome, call.mode, ref)

    async def PrepareLabels(
        self, request: clip_pb2.PrepareLabelsRequest, context: ServicerContext
    ) -> clip_pb2.PrepareLabelsResponse:
        """Encodes labels ahead of Classify, for some time."""
        steps = len(request.labels.names) + len(request.labels.templates)
        call = await off_loop(steps, lambda: convert.read_prepare(request, self._limits))
        async with self._calls.place(Cost(1, 0), context) as deadline:
            labels, ref = await self._label_sets.resolve(call.labels, call.label_set_ref)
            spec, prepared = await self._classifier.prepare(
                call.model, labels, seconds=call.seconds, deadline=deadline, ref=ref
            )
        return convert.write_prepared(spec, prepared, ref)

    async def Embed(self, request: clip_pb2.EmbedRequest, context: ServicerContext) -> clip_pb2.EmbedResponse:
        """Embeds any mix of images and texts."""
        return await self._embed(request, context)

    async def _embed(
        self, request: clip_pb2.EmbedRequest, context: ServicerContext, *, patient: bool = False
    ) -> clip_pb2.EmbedResponse:
        steps = STEPS_OF_AN_INPUT * len(request.inputs)
        call = await off_loop(steps, lambda: convert.read_embed(request, self._limits))
        convert.check_embed_answer(call, self._models.get(call.model).embed_dim, self._limits)
        async with self._calls.place(cost_of(call.inputs), context, patient=patient) as deadline:
            outcome = await self._embedder.embed(
                call.model, call.inputs, normalize=call.normalize, deadline=deadline
            )
        self._calls.count_errors(item.error for item in outcome.items)
        numbers = len(outcome.items) * outcome.spec.embed_dim
        return await off_loop(numbers // NUMBERS_IN_A_STEP, lambda: convert.write_embed(outcome, call))

    async def EmbedStream(
        self, requests: AsyncIterator[clip_pb2.EmbedStreamRequest], context: ServicerContext
    ) -> AsyncIterator[clip_pb2.EmbedStreamResponse]:
        """Embeds batch after batch; a batch that is refused is answered, and the stream goes on."""

        async def answer(request: clip_pb2.EmbedStreamRequest) -> clip_pb2.EmbedStreamResponse:
            try:
                response = await judged(
                    request.request, lambda batch: self._embed(batch, context, patient=True)
                )
            except ClipserveError as error:
                status = item_status(error, "request")
                return clip_pb2.EmbedStreamResponse(batch_id=request.batch_id, status=status)
            return clip_pb2.EmbedStreamResponse(batch_id=request.batch_id, response=response)

        async for response in in_order(requests, answer, window=self._limits.stream_window):
            yield response

    async def Search(self, request: clip_pb2.SearchRequest, context: ServicerContext) -> bytes:
        """Finds the points nearest to what is looked for. The answer is encoded already."""
        collection = await self._searcher.collection(request.collection)
        query = read_search(request, collection, self._limits)
        cost = cost_of(part.source for part in query.parts)
        reads = bytes_to_read(query.max_hits, self._limits, with_payload=query.with_payload)
        async with self._calls.place(cost, context, reads=reads) as deadline:
            outcome = await self._searcher.search(query, deadline=deadline)
        return await off_loop(
            write_steps(outcome), lambda: write_search(outcome, self._limits).SerializeToString()
        )

    async def GetServerInfo(
        self, request: clip_pb2.GetServerInfoRequest, context: ServicerContext
    ) -> clip_pb2.GetServerInfoResponse:
        """Tells the models that the caller may use, their fingerprints, and the limits."""
        default = self._models.default
        return convert.write_server_info(
            clipserve_gateway.__version__,
            [(spec, ready) for spec, ready in self._models.all() if visible.model(spec.name)],
            default if visible.model(default) else "",
            self._limits,
            self._engine.name,
            self._engine.keeps_sources,
        )
