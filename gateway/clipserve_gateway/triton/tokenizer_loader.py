"""Loads the tokenizers of models from Triton, once each, and ends those that no model uses any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Set
from typing import Protocol

from clipserve_gateway import errors
from clipserve_gateway.inputs.huggingface_tokenizer import BadTokenizer
from clipserve_gateway.inputs.tokenizer import publish, withdraw
from clipserve_gateway.inputs.tokenizer_process import TokenizerProcess
from clipserve_gateway.triton.canary import CanaryResult, Outcome
from clipserve_gateway.triton.model_config import tokenizer_name
from clipserve_gateway.types import ModelSpec, TokenizerSpec

log = logging.getLogger(__name__)

FETCH_SECONDS = 30.0
RETRY_SECONDS = {Outcome.WRONG: 30.0, Outcome.MISSING: 1.0}
"""After these, a tokenizer that could not be loaded is asked for again."""
LOADS_AT_ONCE = 2
"""Each may take up to 4 GiB of memory until it is refused."""
KEEP_SECONDS = 300.0
"""How long a tokenizer that no Triton serves is kept: a Triton that restarts needs it again."""


class TokenizerSource(Protocol):
    """A Triton that serves tokenizers."""

    async def tokenizer_bundle(self, spec: ModelSpec, timeout: float) -> bytes:
        """The bundle of a model's tokenizer, compressed; see inputs/tokenizer_bundle.py.

        Raises ModelUnavailable, DeadlineExceeded or InferenceFailed.
        """


class TokenizerLoader:
    """Loads each tokenizer once for all models and replicas. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._loaded: dict[TokenizerSpec, TokenizerProcess] = {}
        self._loading: dict[TokenizerSpec, asyncio.Task[None]] = {}
        self._failed: dict[tuple[TokenizerSpec, str, TokenizerSource], tuple[float, CanaryResult]] = {}
        """By model, too: another model may have the same tokenizer in a good file."""
        self._turns = asyncio.Semaphore(LOADS_AT_ONCE)
        self._complaints: dict[TokenizerSpec, str] = {}
        """What is wrong with a tokenizer, as it was logged."""
        self._wanted_at: dict[TokenizerSpec, float] = {}

    async def load(self, spec: ModelSpec, source: TokenizerSource) -> CanaryResult | None:
        """None as soon as the model's tokenizer is loaded; else why it cannot be loaded from this source.

        Takes seconds the first time. Reports the same failure again until RETRY_SECONDS are over.
        """
        wanted = spec.tokenizer
        if wanted.kind == "openai_bpe":
            return None
        self._wanted_at[wanted] = self._clock()
        while wanted not in self._loaded and wanted in self._loading:
            # From any source: this one is asked if that one fails.
            await asyncio.shield(self._loading[wanted])
        if wanted in self._loaded:
            return None
        if failure := self._recent_failure(spec, source):
            return failure
        loading = self._loading[wanted] = asyncio.create_task(self._load(spec, source))
        loading.add_done_callback(lambda _: self._loading.pop(wanted))
        await asyncio.shield(loading)
        return None if wanted in self._loaded else self._failed[wanted, spec.name, source][1]

    def _recent_failure(self, spec: ModelSpec, source: TokenizerSource) -> CanaryResult | None:
        at, result = self._failed.get((spec.tokenizer, spec.name, source), (0.0, None))
        return result if result is not None and self._clock() - at < RETRY_SECONDS[result.outcome] else None

    async def _load(self, spec: ModelSpec, source: TokenizerSource) -> None:
        wanted, name = spec.tokenizer, tokenizer_name(spec.name)
        begin = self._clock()
        try:
            async with self._turns:
                process = await self._started(spec, source)
        except (BadTokenizer, errors.ClipserveError) as error:
            reason = error.logged if isinstance(error, errors.ClipserveError) else str(error)
            bad = isinstance(error, (BadTokenizer, errors.InferenceFailed))
            outcome = Outcome.WRONG if bad else Outcome.MISSING
            result = CanaryResult(outcome, f"{name}: {reason}", name)
            self._failed[wanted, spec.name, source] = self._clock(), result
            if bad and self._complaints.get(wanted) != reason:
                self._complaints[wanted] = reason
                log.error("%s cannot be used, export the model again: %s", name, reason)
            return
        self._complaints.pop(wanted, None)
        self._loaded[wanted] = process
        publish(wanted, process)
        log.info("the tokenizer of model %s was loaded in %.1f s", spec.name, self._clock() - begin)

    async def _started(self, spec: ModelSpec, source: TokenizerSource) -> TokenizerProcess:
        process = TokenizerProcess(spec.tokenizer, await source.tokenizer_bundle(spec, FETCH_SECONDS))
        try:
            await asyncio.get_running_loop().run_in_executor(process.executor, process.start)
        except BaseException:
            process.close()
            raise
        return process

    def keep(self, served: Set[TokenizerSpec]) -> None:
        """Keeps the tokenizers of the models that are served now, and ends those not served for long."""
        now = self._clock()
        self._wanted_at |= dict.fromkeys(served, now)
        longest = max(RETRY_SECONDS.values())
        self._failed = {key: value for key, value in self._failed.items() if now - value[0] < longest}
        for spec in [spec for spec, at in self._wanted_at.items() if now - at >= KEEP_SECONDS]:
            del self._wanted_at[spec]
            self._complaints.pop(spec, None)
            if spec in self._loaded:
                self._end(spec)

    def _end(self, spec: TokenizerSpec) -> None:
        withdraw(spec)
        self._loaded.pop(spec).close()

    def close(self) -> None:
        """Ends all tokenizers; calls under way fail."""
        for loading in self._loading.values():
            loading.cancel()
        for spec in list(self._loaded):
            self._end(spec)
