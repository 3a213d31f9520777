"""Classify, embed and search."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy.typing as npt

from clipserve.calls.base import Calls, Progress
from clipserve.filters.conditions import Filter
from clipserve.inputs.image_like import ImageLike
from clipserve.jobs.base import OnError
from clipserve.jobs.classify import ClassifyJob
from clipserve.jobs.embed import EmbedJob, EmbedOptions
from clipserve.jobs.warn import warn_of_texts
from clipserve.labels import LabelSet, to_label_set
from clipserve.messages.responses import read_search
from clipserve.messages.search_request import check_query_texts, search_request
from clipserve.types import ClassifyResult, EmbeddingFormat, EmbedResult, SearchResult, Weighted
from clipserve.wire.images import MAX_FILE_BYTES
from clipserve.wire.label_sets import prepare_request


class ClipCalls(Calls):
    """Methods of ClipService."""

    def classify(
        self,
        images: Iterable[ImageLike],
        labels: Iterable[str] | LabelSet | None = None,
        *,
        label_set: str | None = None,
        templates: Sequence[str] | None = None,
        top_k: int = 5,
        mode: Literal["softmax", "independent"] | None = None,
        thresholds: Sequence[float] | float | None = None,
        model: str = "",
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> ClassifyResult:
        """The best labels for each image.

        Args:
            images: encoded bytes, paths, uint8 arrays [H, W, 3] or Pillow images.
            labels: distinct names, or a LabelSet such as `label_set("imagenet1k")`.
            label_set: name of a stored label set, instead of labels: `pets` for its latest version, or
                `pets@3`. It has its own templates and thresholds.
            templates: prompts that contain `{}` once; a label's embedding is the mean of its prompts. None:
                the label set's templates, or `a photo of a {}.`
            top_k: labels to return for each image, best first. Values above the number of labels return all;
                0 means the server's default.
            mode: ``softmax`` if exactly one label is right: the probabilities of all labels add up to 1.
                ``independent`` if any number of labels can be: each label has a probability of its own, but
                only with models that have a `logit_bias`. None: ``independent`` with these models,
                ``softmax`` with others.
            thresholds: cosine at or above which a label counts as present: one for all labels, or one each.
            model: name of the model; empty means the server's default.
        """
        job = ClassifyJob(
            images,
            choose_labels(labels, label_set, templates, thresholds),
            top_k=top_k,
            mode=mode,
            model=model,
            on_error=on_error,
        )
        return self._run(job, timeout, progress)

    def prepare_labels(
        self,
        labels: Iterable[str] | LabelSet | None = None,
        *,
        label_set: str | None = None,
        templates: Sequence[str] | None = None,
        model: str = "",
        progress: Callable[[int, int], None] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Lets the server encode labels before the first `classify` call needs them.

        Returns the number of prompts that the server had to encode; 0 if all were cached. Raises
        Unimplemented if the server does not support this call.

        Args:
            labels, label_set, templates, model: as in `classify`.
            progress: called with the number of prompts encoded so far, and their total.
        """
        chosen = choose_labels(labels, label_set, templates)
        request, encoded, before = prepare_request(chosen, model), 0, -1
        while True:
            response = self._call("PrepareLabels", request, timeout)
            encoded += response.encoded
            if progress is not None:
                progress(response.done, response.total)
            # A server whose cache is too small for the labels makes no more progress.
            if not before < response.done < response.total:
                return encoded
            before = response.done

    def embed_images(
        self,
        images: Iterable[ImageLike],
        *,
        model: str = "",
        normalize: bool = True,
        format: EmbeddingFormat = "float32",
        dimensions: int | None = None,
        allow_truncation: bool = False,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> EmbedResult:
        """Embeddings of images: float32 [N, D], L2-normalized unless `normalize` is False.

        Args:
            format: numbers of the result: ``float32``, ``float16``, ``int8``, ``uint8``, ``binary`` or
                ``ubinary``; see `EmbeddingFormat`. The last four need `normalize`.
            dimensions: how many of the first dimensions to return, normalized again; None means all.
            allow_truncation: allows `dimensions` that the model was not trained for
                (`ModelInfo.matryoshka_dims`): the embeddings then lose more.
        """
        options = EmbedOptions(model, normalize, format, dimensions, allow_truncation)
        return self._run(EmbedJob("images", options, on_error, images), timeout, progress)

    def embed_texts(
        self,
        texts: Iterable[str],
        *,
        model: str = "",
        normalize: bool = True,
        format: EmbeddingFormat = "float32",
        dimensions: int | None = None,
        allow_truncation: bool = False,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> EmbedResult:
        """Embeddings of texts: float32 [N, D], L2-normalized unless `normalize` is False.

        Texts longer than the model's context are truncated; the result's `truncated` has their positions, and
        its `tokens` how much the model read of each. `format`, `dimensions`, `allow_truncation`: as in
        `embed_images`.
        """
        options = EmbedOptions(model, normalize, format, dimensions, allow_truncation)
        return self._run(EmbedJob("texts", options, on_error, texts), timeout, progress)

    def embed_stream(
        self,
        batches: Iterable[Iterable[Any]],
        *,
        kind: Literal["images", "texts"] = "images",
        model: str = "",
        normalize: bool = True,
        format: EmbeddingFormat = "float32",
        dimensions: int | None = None,
        allow_truncation: bool = False,
        on_error: OnError = "raise",
        timeout: float | None = None,
    ) -> Iterator[EmbedResult]:
        """Embeds batches of a long or endless source over one stream. Yields one result for each batch.

        Batches are read as answers arrive, a few ahead of them. `timeout` applies to each answer. `format`,
        `dimensions`, `allow_truncation`: as in `embed_images`.
        """
        options = EmbedOptions(model, normalize, format, dimensions, allow_truncation)
        new_job = functools.partial(EmbedJob, kind, options, on_error)
        return self._stream(EmbedJob.stream, batches, new_job, timeout)

    def search(
        self,
        collection: str,
        *,
        text: str | None = None,
        image: ImageLike | None = None,
        embedding: npt.ArrayLike | None = None,
        like: str | None = None,
        weighted: Sequence[Weighted] | None = None,
        top_k: int = 10,
        score_threshold: float | None = None,
        filter: Filter | str | None = None,
        with_payload: bool = True,
        payload_fields: Sequence[str] = (),
        fingerprint: str = "",
        consistency: Literal["bounded", "strong"] | None = None,
        group_duplicates: bool | float = False,
        timeout: float | None = None,
    ) -> SearchResult:
        """The points nearest to a query, best first.

        The query is exactly one of `text`, `image`, `embedding`, `like` and `weighted`.

        Args:
            like: id of a point. Finds similar points and leaves out the point itself.
            weighted: 1 to 16 queries in one: the weighted sum of their embeddings, e.g.
                `[Weighted(1, text="a beach"), Weighted(-1, text="people")]`.
            score_threshold: leaves out hits with a lower cosine.
            filter: searches only points whose payload matches, e.g. `F("year") >= 2020` or "year >= 2020".
            with_payload: False returns hits without payloads.
            payload_fields: fields of the payload to return; empty means all.
            fingerprint: of the model that made `embedding`. The server refuses collections of another model.
            consistency: ``strong`` includes all writes that were acknowledged before the search; ``bounded``
                can miss the most recent ones and is faster on some engines. None: the server's default.
            group_duplicates: True, or the cosine at or above which two points are near-duplicates. Only the
                best point of each group is a hit, and `top_k` counts groups.
        """
        images = [image, *(part.image for part in weighted or () if isinstance(part, Weighted))]
        has_paths = any(isinstance(image, str | os.PathLike) for image in images)
        request = search_request(
            collection,
            max_file_bytes=self._cached_info(timeout).limits.max_image_bytes if has_paths else MAX_FILE_BYTES,
            text=text,
            image=image,
            embedding=embedding,
            like=like,
            weighted=weighted,
            top_k=top_k,
            score_threshold=score_threshold,
            filter=filter,
            with_payload=with_payload,
            payload_fields=payload_fields,
            fingerprint=fingerprint,
            consistency=consistency,
            group_duplicates=group_duplicates,
        )
        warn_of_texts(check_query_texts(text, weighted or ()))
        return read_search(self._call("Search", request, timeout))


def choose_labels(
    labels: Iterable[str] | LabelSet | None,
    label_set: str | None,
    templates: Sequence[str] | None,
    thresholds: Sequence[float] | float | None = None,
) -> LabelSet | str:
    """The labels of a call: a label set, or the reference of a stored one. Raises TypeError."""
    if (labels is None) == (label_set is None):
        raise TypeError("pass exactly one of labels and label_set")
    if labels is not None:
        return to_label_set(labels, templates, thresholds)
    if not (templates is None and thresholds is None):
        raise TypeError("a stored label set has its own templates and thresholds")
    return label_set or ""
