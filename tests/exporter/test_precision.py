"""The precision that is chosen for a machine, and what is said of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clipserve_exporter import export as export_module
from clipserve_exporter import parity, precision
from clipserve_exporter.config import Serving
from clipserve_exporter.export import Exported, Order, export
from clipserve_exporter.precision import MIN_COSINE, Choice, choose, processor_flags, warnings_of
from clipserve_exporter.report import precision_summary
from clipserve_exporter.source import Source

AMX = frozenset({"avx2", "avx512_bf16", "amx_bf16"})
AVX512 = frozenset({"avx2", "avx512_bf16"})
OLD = frozenset({"avx2", "avx512f"})


@pytest.mark.parametrize(
    ("format_", "device", "flags", "chosen"),
    [
        ("python", "cpu", AMX, Choice("bf16", "this processor has AMX")),
        ("python", "cpu", AVX512, Choice("bf16", "this processor has AVX512-BF16")),
        ("python", "cpu", OLD, Choice("fp32", "this processor has neither AMX nor AVX512-BF16")),
        ("libtorch", "cpu", AMX, Choice("fp32", "in bf16 Triton's libtorch backend is slow on a CPU")),
        ("libtorch", "cuda", OLD, Choice("fp16", "a GPU serves")),
        ("python", "cuda", AMX, Choice("fp16", "a GPU serves")),
    ],
)
def test_the_choice_follows_from_format_device_and_processor(
    format_: str, device: str, flags: frozenset[str], chosen: Choice
) -> None:
    assert choose(format_, device, flags) == chosen


def test_the_flags_are_those_that_linux_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\nvmx flags\t: ept\n\nflags\t\t: fpu\n")
    monkeypatch.setattr(precision, "CPUINFO", file)
    assert processor_flags() == {"fpu", "avx2", "amx_bf16"}
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "none")
    assert processor_flags() == frozenset()


def test_fp16_on_a_cpu_gets_a_warning_that_says_what_to_do() -> None:
    [warning] = warnings_of("fp16", "cpu")
    assert "--precision auto or fp32" in warning
    assert warnings_of("fp16", "cuda") == warnings_of("bf16", "cpu") == warnings_of("fp32", "cpu") == ()


@pytest.fixture
def exported(
    tmp_path: Path, narrow_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Exported]:
    """Exports a narrow model for this machine, as if its processor had AMX."""
    monkeypatch.setattr(export_module, "processor_flags", lambda: AMX)

    def run(**changes: Any) -> Exported:
        order: dict[str, Any] = {
            "model": narrow_model(tmp_path / "narrow"),
            "pretrained": "",
            "name": "narrow",
            "precision": "auto",
            "format": "python",
            "out": tmp_path / "models",
            "seed": 0,
            "serving": Serving(),
            "device": "cpu",
        }
        return export(Order(**order | changes))

    return run


def parameters(exported: Exported) -> str:
    return (exported.folders[0] / "config.pbtxt").read_text()


def with_cosine(monkeypatch: pytest.MonkeyPatch, of: str, cosine: float) -> None:
    """Makes the comparisons of one tower in bf16 say that its lowest cosine is another one."""
    real = getattr(parity, f"{of}_cases")

    def cases(source: Source, graph: Any, precision: str, *rest: Any) -> Iterator[parity.Case]:
        for case in real(source, graph, precision, *rest):
            yield dataclasses.replace(case, min_cosine=cosine) if precision == "bf16" else case

    monkeypatch.setattr(parity, f"{of}_cases", cases)


def test_bf16_is_exported_if_both_towers_stay_near_open_clip(
    exported: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    for tower in ("image", "text"):
        with_cosine(monkeypatch, tower, MIN_COSINE)
    found = exported()
    assert found.facts.precision == "bf16"
    assert {case.bound for case in found.cases} == {MIN_COSINE}, "bf16 alone would accept less"
    assert 'key: "precision" value { string_value: "bf16" }' in parameters(found)
    assert 'key: "device" value { string_value: "cpu" }' in parameters(found)
    assert precision_summary(found) == (
        "✓ precision bf16, chosen: this processor has AMX; lowest cosine to open_clip 0.99990"
    )


@pytest.mark.parametrize(("tower", "cosine"), [("image", 0.99989), ("text", math.nan)])
def test_a_tower_that_bf16_changes_too_much_makes_both_fp32(
    exported: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch, tower: str, cosine: float
) -> None:
    for each in ("image", "text"):
        with_cosine(monkeypatch, each, cosine if each == tower else 1.0)
    found = exported()
    assert found.facts.precision == "fp32"
    assert all(case.good and case.bound == parity.BOUNDS["fp32"] for case in found.cases)
    assert f"but in bf16 the lowest cosine to open_clip is {cosine:.5f} ({tower} tower, " in (
        precision_summary(found)
    )


def test_a_named_precision_is_kept_and_nothing_is_chosen(exported: Callable[..., Exported]) -> None:
    found = exported(precision="fp32", device="")
    assert (found.facts.precision, found.chosen, found.warnings) == ("fp32", None, ())
    assert 'key: "device"' not in parameters(found), "nobody said which device serves"


def test_the_precision_that_was_chosen_is_the_one_of_the_trial(
    exported: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    for tower in ("image", "text"):
        with_cosine(monkeypatch, tower, 1.0)
    seen: list[Any] = []

    def trial(facts: Any, image: Any, text: Any, *rest: Any) -> None:
        seen.append((facts.precision, *({p.dtype for p in graph.parameters()} for graph in (image, text))))

    monkeypatch.setattr(export_module, "run_trial", trial)
    exported(trial=True)
    [(chosen, image, text)] = seen
    import torch

    assert chosen == "bf16"
    assert torch.bfloat16 in image
    assert torch.bfloat16 in text
