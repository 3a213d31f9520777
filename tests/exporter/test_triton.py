"""Exports served by the real Triton, in the Python form.

The libtorch backend is not among what can be installed here: of that form the tests parse the configuration
(test_config.py) and run the graph (test_parity.py), but do not serve it.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clipserve_exporter.config import Serving, render_tokenizer
from clipserve_exporter.export import Order, export
from clipserve_exporter.reference import encode_images
from clipserve_exporter.repository import TowerFiles, write
from clipserve_exporter.source import Source, load
from clipserve_exporter.text_tower import END
from clipserve_exporter.tokenizer_facts import TokenizerFacts
from clipserve_exporter.torchscript import export_bytes
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from testing.tritonserver import TritonServer

START = END - 1
BUNDLE = np.random.default_rng(0).bytes(34 << 20)
"""As large as the largest tokenizer.json, uncompressed."""
UNUSED = ("fixed_image", "masked_image", "two_text")
"""Towers that no test calls. Triton starts a process with torch for each."""


class Served:
    """A Triton with a model of each length of texts, one with two instances, and their sources."""

    def __init__(self, server: TritonServer, sources: dict[str, Source]) -> None:
        self.server = server
        self.sources = sources


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    narrow_model: Callable[..., str],
    tritonserver: Callable[[Path], TritonServer],
) -> Served:
    """All models on one server."""
    folder = tmp_path_factory.mktemp("served")
    models = {
        "ragged": narrow_model(folder / "ragged"),
        "fixed": narrow_model(folder / "fixed", text_cfg={"no_causal_mask": True, "context_length": 20}),
        "masked": narrow_model(
            folder / "masked",
            custom_text=True,
            vision_cfg={"output_tokens": True},
            text_cfg={"embed_cls": True, "output_tokens": True, "context_length": 40},
            multimodal_cfg={"context_length": 40, "width": 64, "heads": 2, "layers": 1},
        ),
        "two": narrow_model(folder / "two"),
    }
    exported = {}
    for name, model in models.items():
        # A delay long enough that callers who come together share a batch on a busy machine.
        serving = Serving(image_batch=16, text_batch=32, queue_delay_us=20_000, threads=1)
        if name == "two":
            serving = Serving(image_batch=4, text_batch=4, instances=2, threads=0)
        exported[name] = export(Order(model, "", name, "fp32", "python", folder / "models", 0, serving))
    for name in UNUSED:
        shutil.rmtree(folder / "models" / name)
    tokenizer = TokenizerFacts(kind="huggingface", sha256="ab" * 32)
    facts = replace(exported["ragged"].facts, name="with", tokenizer=tokenizer)
    write(
        folder / "models", {"with_tokenizer": TowerFiles(render_tokenizer(facts), export_bytes(BUNDLE), True)}
    )
    return Served(
        tritonserver(folder / "models"), {name: load(model, seed=0) for name, model in models.items()}
    )


def text(length: int, seed: int = 0) -> list[int]:
    return [START, *np.random.default_rng(seed).integers(1, START, length - 2).tolist(), END]


def eager(source: Source, rows: list[list[int]]) -> np.ndarray:
    whole = torch.zeros(len(rows), source.context_length, dtype=torch.int64)
    for row, tokens in zip(whole, rows, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return source.encode_text(whole).numpy()


def all_at_once(work: Callable[[int], Any], callers: int) -> list[Any]:
    """What each of several callers gets: a result or its error."""
    results: list[Any] = [None] * callers
    start = threading.Barrier(callers)

    def call(i: int) -> None:
        start.wait()
        try:
            results[i] = work(i)
        except InferenceServerException as error:
            results[i] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_images_through_triton_are_open_clips(served: Served) -> None:
    source = served.sources["ragged"]
    for batch in (1, 5, 16):
        pixels = np.random.default_rng(batch).integers(0, 256, (batch, 32, 32, 3), np.uint8)
        found = served.server.infer("ragged_image", pixels)
        np.testing.assert_allclose(found, encode_images(source, pixels).numpy(), atol=2e-5)


@pytest.mark.parametrize("name", ["ragged", "masked"])
def test_texts_of_any_length_through_triton_are_open_clips(served: Served, name: str) -> None:
    source = served.sources[name]
    for length in (2, 9, 39, source.context_length):
        rows = [text(length, seed) for seed in range(3)]
        found = served.server.infer(f"{name}_text", np.array(rows, np.int32))
        np.testing.assert_allclose(found, eager(source, rows), atol=2e-5)


def test_padding_that_a_caller_adds_to_masked_texts_changes_nothing(served: Served) -> None:
    rows = [text(4), text(21, seed=1)]
    padded = np.zeros((2, 30), np.int32)
    for row, tokens in zip(padded, rows, strict=True):
        row[: len(tokens)] = tokens
    found = served.server.infer("masked_text", padded)
    np.testing.assert_allclose(found, eager(served.sources["masked"], rows), atol=2e-5)


def test_texts_of_a_fixed_tower_are_open_clips(served: Served) -> None:
    rows = [text(20, seed) for seed in range(4)]
    found = served.server.infer("fixed_text", np.array(rows, np.int32))
    np.testing.assert_allclose(found, eager(served.sources["fixed"], rows), atol=2e-5)


def test_images_of_callers_that_come_together_share_batches(served: Served) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    expected = encode_images(served.sources["ragged"], pixels).numpy()
    before = served.server.counts("ragged_image")
    found = all_at_once(lambda i: served.server.infer("ragged_image", pixels[i : i + 1])[0], 16)
    np.testing.assert_allclose(np.stack(found), expected, atol=2e-5)
    inferences, executions = np.subtract(served.server.counts("ragged_image", before[0] + 16), before)
    assert inferences == 16
    assert inferences / executions > 2


def test_two_instances_answer_side_by_side(served: Served) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    expected = encode_images(served.sources["two"], pixels).numpy()
    found = all_at_once(lambda i: served.server.infer("two_image", pixels[i : i + 1])[0], 32)
    np.testing.assert_allclose(np.stack(found), expected, atol=2e-5)


def test_texts_of_mixed_lengths_share_batches_and_keep_their_answers(served: Served) -> None:
    rows = [text(2 + 5 * i, seed=i) for i in range(16)]
    expected = eager(served.sources["ragged"], rows)
    before = served.server.counts("ragged_text")
    found = all_at_once(lambda i: served.server.infer("ragged_text", np.array([rows[i]], np.int32))[0], 16)
    np.testing.assert_allclose(np.stack(found), expected, atol=2e-5)
    inferences, executions = np.subtract(served.server.counts("ragged_text", before[0] + 16), before)
    assert inferences == 16
    assert inferences / executions > 2


def test_a_request_at_fault_is_refused_and_its_neighbors_are_answered(served: Served) -> None:
    rows = [text(9, seed=i) for i in range(8)]
    expected = eager(served.sources["ragged"], rows)
    rows[3] = text(90)
    found = all_at_once(lambda i: served.server.infer("ragged_text", np.array([rows[i]], np.int32)), 8)
    assert "texts have 1 to 77 tokens, not 90" in str(found[3])
    for i in (0, 1, 2, 4, 5, 6, 7):
        np.testing.assert_allclose(found[i][0], expected[i], atol=2e-5)


@pytest.mark.parametrize(
    ("model", "rows", "words"),
    [
        ("ragged_image", np.zeros((1, 31, 32, 3), np.uint8), "unexpected shape"),
        ("ragged_image", np.zeros((1, 32, 32, 3), np.int32), "data-type"),
        ("ragged_image", np.zeros((17, 32, 32, 3), np.uint8), "batch-size must be <= 16"),
        ("fixed_text", np.zeros((1, 19), np.int32), "unexpected shape"),
        ("ragged_text", np.zeros((1, 0), np.int32), "1 to 77 tokens, not 0"),
    ],
)
def test_inputs_of_the_wrong_kind_are_refused(
    served: Served, model: str, rows: np.ndarray, words: str
) -> None:
    with pytest.raises(InferenceServerException, match=words):
        served.server.infer(model, rows)


def test_a_tokenizer_of_34_megabytes_comes_back_whole(served: Served) -> None:
    ask = InferInput("INPUT__0", [1], "UINT8")
    ask.set_data_from_numpy(np.zeros(1, np.uint8))
    begin = time.monotonic()
    for _ in range(2):
        found = served.server.client.infer("with_tokenizer", [ask]).as_numpy("OUTPUT__0")
        assert found.tobytes() == BUNDLE
    assert time.monotonic() - begin < 20


def test_tritons_configuration_has_all_parameters(served: Served) -> None:
    config = served.server.client.get_model_config("ragged_text", as_json=True)["config"]
    parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
    assert parameters["model"] == "ragged"
    assert parameters["text_length"] == "ragged"
    assert parameters["threads"] == "1"
    assert len(parameters["fingerprint"]) == 64


def test_warmup_ran_without_a_complaint(served: Served) -> None:
    log = served.server.log.read_text(errors="replace")
    assert "failed to run warmup" not in log
    assert "error: " not in log.lower()
