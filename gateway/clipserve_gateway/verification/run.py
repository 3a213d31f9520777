"""Runs the checks of `clipserve-gateway verify`, with the files of a golden file alone or with a Triton."""

from __future__ import annotations

from clipserve_gateway.errors import ModelNotFound
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inputs.tokenizer import encode_texts, tokenizer_for
from clipserve_gateway.triton.client import TritonEncoder
from clipserve_gateway.triton.model_config import TOWERS, parse_model, tower_name
from clipserve_gateway.triton.tokenizer_loader import TokenizerLoader
from clipserve_gateway.types import ModelSpec, TokenizerSpec, Tokens
from clipserve_gateway.verification.checks import Check, check_ids, check_model, check_pixels
from clipserve_gateway.verification.golden import Golden

SECONDS = 120.0
"""For all that Triton and a tokenizer do."""


async def run_checks(golden: Golden, model: str, triton: str | None, headers: dict[str, str]) -> list[Check]:
    """All checks, with the configuration and the tokenizer of a model in Triton if one is named."""
    if triton is None:
        checks = list(check_pixels(golden, golden.preprocess))
        if golden.tokenizer.kind != "openai_bpe":
            detail = "the tokenizer travels with the model: name a Triton that serves it with --triton"
            return [*checks, Check("ids", "skipped", detail)]
        return checks + list(check_ids(golden, golden.tokenizer, await tokens_of(golden, golden.tokenizer)))
    encoder, loader = TritonEncoder(triton, headers), TokenizerLoader()
    try:
        spec = await served(encoder, model)
        checks = [*check_model(spec, golden), *check_pixels(golden, spec.preprocess)]
        if problem := await loader.load(spec, encoder):
            return [
                *checks,
                Check("ids", "failed", problem.detail, "export the model again, or see Triton's log"),
            ]
        tokens = await tokens_of(golden, spec.tokenizer)
        return checks + list(check_ids(golden, spec.tokenizer, tokens))
    finally:
        loader.close()
        await encoder.close()


async def served(encoder: TritonEncoder, model: str) -> ModelSpec:
    """What Triton's configurations say about a model. Raises ModelNotFound, BadModelConfig and others."""
    towers = await encoder.towers([tower_name(model, tower) for tower in TOWERS], SECONDS)
    if len(towers) < len(TOWERS):
        raise ModelNotFound(f"Triton has no model {model!r}; --model names it as it is served")
    return parse_model(*towers)


async def tokens_of(golden: Golden, spec: TokenizerSpec) -> list[Tokens]:
    """The tokens of the golden texts."""
    texts = [text.text for text in golden.texts]
    return await encode_texts(tokenizer_for(spec), texts, Deadline.after(SECONDS))
