"""ClipService of the fake server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
from client.fake_base import Guard, Refused, State, invalid
from client.fake_images import embed_image
from client.fake_labels import LabelSetStore, check_labels, cut_prompts, label_warnings
from client.fake_model import CONTEXT_WORDS, LOGIT_SCALE, OTHER, by_model, embed_text, packed, unit
from client.fake_points import FakeStore
from client.fake_search import search
from clipserve.v1 import clip_pb2, clip_pb2_grpc, common_pb2

PREPARED_PROMPTS = 600
"""Prompts encoded per PrepareLabels call."""


class FakeClip(Guard, clip_pb2_grpc.ClipServiceServicer):
    """ClipService."""

    def __init__(self, state: State, store: FakeStore, label_sets: LabelSetStore) -> None:
        super().__init__(state)
        self.store = store
        self.label_sets = label_sets
        self.known_labels: dict[tuple[str, ...], set[str]] = {}

    def GetServerInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            models = [
                clip_pb2.ModelInfo(
                    ref=model,
                    ready=self.state.ready,
                    architecture="Fake-4",
                    image_size=4,
                    image_height=4,
                    image_width=4,
                    resize="shortest",
                    interpolation="bicubic",
                    context_length=CONTEXT_WORDS + 2,
                    logit_scale=LOGIT_SCALE,
                    logit_bias=self.state.logit_bias,
                    precision="fp32",
                    device="cpu",
                    tokenizer="openai_bpe",
                    text_clean="lower",
                    vocab_size=49408,
                    license="mit" if model is self.state.model else "",
                )
                for model in (self.state.model, OTHER)
            ]
            return clip_pb2.GetServerInfoResponse(
                version="0.0.1",
                models=models,
                default_model=self.state.model.name,
                limits=self.state.limits,
                engine="fake",
                keeps_sources=self.state.keeps_sources,
                restores_sources=self.state.restores_sources,
                inserts_new_points=self.state.inserts_new_points,
                image_rules=self.state.image_rules,
            )

        return self.call("GetServerInfo", 0, context, answer)

    def Embed(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.call("Embed", len(request.inputs), context, lambda: self.embed(request))

    def EmbedStream(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            items = len(request.request.inputs)
            batch = request.request
            yield clip_pb2.EmbedStreamResponse(
                **self.batch(
                    *("EmbedStream", items, request, context),
                    lambda batch=batch: self.embed(batch, "EmbedStream"),
                )
            )

    def embed(self, request: Any, method: str = "Embed") -> clip_pb2.EmbedResponse:
        self.check_count(len(request.inputs), "inputs")
        model = self.state.named(request.model)
        dimensions = self.dimensions(request, model)
        results = []
        for i, item in enumerate(request.inputs):
            kind = item.WhichOneof("input")
            path = f"inputs[{i}].image" if kind == "image" else f"inputs[{i}]"
            try:
                if kind is None:
                    raise invalid("INVALID_INPUT", "set image or text")
                vector = (
                    embed_text(item.text) if kind == "text" else embed_image(item.image, self.state.limits)
                )
            except Refused as refused:
                results.append(clip_pb2.EmbedResult(status=refused.at(path).status()))
                continue
            vector = by_model(model.name, vector)[:dimensions]
            words = len(item.text.split())
            results.append(
                clip_pb2.EmbedResult(
                    embedding=packed(vector if request.raw else unit(vector), request.format),
                    truncated=words > CONTEXT_WORDS,
                    tokens=min(words, CONTEXT_WORDS) + 2 if kind == "text" else 0,
                )
            )
        if self.state.spoil is not None:
            results = self.state.spoil(method, request, results)
        return clip_pb2.EmbedResponse(
            results=results,
            model=model,
            normalized=not request.raw,
            dimensions=dimensions if self.state.truncates else 0,
        )

    def dimensions(self, request: Any, model: Any) -> int:
        """Dimensions of the answer."""
        if request.raw and request.format >= common_pb2.EMBEDDING_FORMAT_INT8:
            raise invalid("INVALID_INPUT", "this format is for normalized embeddings", "raw")
        wanted = request.dimensions if self.state.truncates else 0
        if wanted > model.embed_dim or (wanted and not request.allow_truncation):
            raise invalid("INVALID_INPUT", f"dimensions is {wanted}: set allow_truncation", "dimensions")
        return wanted or model.embed_dim

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.call("Classify", len(request.images), context, lambda: self.classify(request))

    def PrepareLabels(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            model = self.state.named(request.model)
            labels, ref = self.labels_of(request)
            templates = max(1, len(labels.templates))
            known = self.known_labels.setdefault((model.name, *labels.templates), set())
            new = [name for name in labels.names if name not in known][
                : max(1, PREPARED_PROMPTS // templates)
            ]
            known.update(new)
            return clip_pb2.PrepareLabelsResponse(
                model=model,
                label_set=ref,
                total=len(labels.names) * templates,
                done=sum(name in known for name in labels.names) * templates,
                encoded=len(new) * templates,
            )

        return self.call("PrepareLabels", 0, context, answer)

    def classify(self, request: Any) -> clip_pb2.ClassifyResponse:
        self.check_count(len(request.images), "images")
        model = self.state.named(request.model)
        labels, ref = self.labels_of(request)
        embeddings = self.label_embeddings(labels, model.name)
        if request.top_k < 0:
            raise invalid("INVALID_INPUT", "top_k must not be negative", "top_k")
        bias = self.state.logit_bias
        own = clip_pb2.SCORE_MODE_SOFTMAX if bias is None else clip_pb2.SCORE_MODE_INDEPENDENT
        mode = request.score_mode or own
        results = []
        for i, image in enumerate(request.images):
            try:
                vector = unit(by_model(model.name, embed_image(image, self.state.limits)))
            except Refused as refused:
                results.append(clip_pb2.ClassifyResult(status=refused.at(f"images[{i}]").status()))
                continue
            scores = self.scores(embeddings @ vector, labels, request.top_k or 5, mode)
            results.append(clip_pb2.ClassifyResult(scores=scores))
        return clip_pb2.ClassifyResponse(
            results=results,
            model=model,
            score_mode=mode,
            logit_scale=LOGIT_SCALE,
            logit_bias=bias,
            label_set=ref,
            truncated_prompts=cut_prompts(labels),
            warnings=label_warnings(labels),
        )

    def labels_of(self, request: Any) -> tuple[clip_pb2.LabelSet, clip_pb2.LabelSetRef | None]:
        """The labels of a request, given or stored."""
        if request.HasField("labels") == request.HasField("label_set"):
            raise invalid("INVALID_INPUT", "set labels or label_set", "labels.names")
        if request.HasField("labels"):
            check_labels(request.labels, self.state.limits)
            return request.labels, None
        try:
            kept = self.label_sets.get(request.label_set)
        except Refused as refused:
            raise refused.at("label_set") from None
        return kept.labels, clip_pb2.LabelSetRef(name=kept.name, version=kept.version)

    def label_embeddings(self, labels: clip_pb2.LabelSet, model: str) -> np.ndarray:
        templates = list(labels.templates) or ["a photo of a {}."]
        prompts = [[template.replace("{}", name) for template in templates] for name in labels.names]
        if labels.HasField("none_of_the_above"):
            prompts.append(list(labels.none_of_the_above.prompts) or ["a photo.", "a picture of something."])
        rows = [[unit(by_model(model, embed_text(prompt))) for prompt in group] for group in prompts]
        return np.array([unit(np.mean(group, axis=0)) for group in rows])

    def scores(
        self, cosines: np.ndarray, labels: clip_pb2.LabelSet, top_k: int, mode: int
    ) -> list[clip_pb2.LabelScore]:
        none = labels.none_of_the_above
        names = [*labels.names, none.name or "none of the above"]
        thresholds = [*labels.thresholds, none.threshold]
        logits = np.exp(LOGIT_SCALE * (cosines - cosines.max()))
        probabilities = logits / logits.sum()
        scores = []
        for index in np.argsort(-cosines, kind="stable")[:top_k]:
            score = clip_pb2.LabelScore(label=names[index], index=index, cosine=cosines[index])
            if mode == clip_pb2.SCORE_MODE_SOFTMAX:
                score.probability = probabilities[index]
            elif self.state.logit_bias is not None:
                score.probability = 1 / (1 + np.exp(-LOGIT_SCALE * cosines[index] - self.state.logit_bias))
            if labels.thresholds:
                score.above_threshold = bool(cosines[index] >= thresholds[index])
            scores.append(score)
        return scores

    def Search(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.call("Search", 1, context, lambda: search(self.store, request, self.state.limits))
