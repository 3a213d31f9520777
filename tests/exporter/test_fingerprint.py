"""The fingerprint: the same for the same embeddings, another for any others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from clipserve_exporter.fingerprint import architecture, fingerprint
from clipserve_exporter.source import Source, load
from clipserve_exporter.tokenizer_facts import TokenizerFacts
from safetensors.torch import save_file

Narrow = Callable[..., Source]


def of(source: Source) -> str:
    return fingerprint(source, source.weights_sha256())


def test_the_same_weights_from_another_place_have_the_same_fingerprint(
    tmp_path: Path, narrow_model: Callable[..., str]
) -> None:
    source = load(narrow_model(tmp_path / "here"), seed=1)
    there = narrow_model(tmp_path / "there", vision_cfg={"output_tokens": False, "timm_drop": 0.0})
    save_file(source.model.state_dict(), tmp_path / "there" / "model.safetensors")
    assert of(load(there)) == of(source)
    assert len(of(source)) == 64


def test_whatever_changes_embeddings_changes_the_fingerprint(narrow: Narrow) -> None:
    source = narrow()
    others = [
        narrow(seed=1),
        narrow(quick_gelu=True),
        narrow(text_cfg={"no_causal_mask": True}),
        narrow(preprocess_cfg={"mean": [0.5, 0.5, 0.5]}),
        dataclasses.replace(source, context_length=76),
        dataclasses.replace(source, preprocess=dataclasses.replace(source.preprocess, height=33)),
    ]
    found = [of(source), *(of(other) for other in others)]
    assert len(set(found)) == len(found)


def test_the_tokenizer_counts_by_its_content_and_use_and_not_by_its_name(narrow: Narrow) -> None:
    def using(**changes: object) -> str:
        facts = TokenizerFacts(kind="huggingface", sha256="ab" * 32, clean="canonicalize", pad_id=1)
        config = source.config | {"text_cfg": source.config["text_cfg"] | {"hf_tokenizer_name": name}}
        changed = dataclasses.replace(facts, **changes)
        return of(dataclasses.replace(source, tokenizer=changed, config=config))

    source, name = narrow(), "a/b"
    found = [using(), using(sha256="cd" * 32), using(clean="lower"), using(pad_id=0), using(strip_id=3)]
    assert len({*found, of(source)}) == 6
    name = "/another/folder"
    assert using() == found[0]


def test_spelled_out_special_tokens_do_not_count(narrow: Narrow) -> None:
    source = narrow()
    facts = dataclasses.replace(source.tokenizer, special_tokens="openai")
    assert of(dataclasses.replace(source, tokenizer=facts)) == of(source)


def test_settings_at_their_default_are_not_part_of_the_architecture() -> None:
    plain = {"embed_dim": 4, "vision_cfg": {"width": 64}, "text_cfg": {"layers": 2}}
    spelled = plain | {
        "quick_gelu": False,
        "vision_cfg": {"width": 64, "mlp_ratio": 4.0, "patch_dropout": 0.5},
    }
    assert architecture(plain) == architecture(spelled)
    assert architecture(plain)["vision"] == {"width": 64}
