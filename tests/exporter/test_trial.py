"""The trial of instances, threads and batches: what it measures, and what follows from it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from clipserve_exporter import trial
from clipserve_exporter.backend import clipserve_process
from clipserve_exporter.config import Serving
from clipserve_exporter.errors import ExportError
from clipserve_exporter.report import trial_summary
from clipserve_exporter.trial import Measurement, Trial, bulk_batch, choose, run_trial
from clipserve_exporter.trial_worker import Order

FACTS = SimpleNamespace(preprocess=SimpleNamespace(shape=(8, 8, 3)), context_length=77, text_length="ragged")


def tried(instances: int, rates: dict[int, float], tower: str = "image") -> list[Measurement]:
    """Measurements of batches by their images a second."""
    return [
        Measurement(tower, instances, 4 // instances, rows, rate, instances * rows / rate)
        for rows, rate in rates.items()
    ]


@pytest.mark.parametrize(
    ("measured", "instances", "batch"),
    [
        ([*tried(1, {1: 10, 2: 15, 4: 19.2, 8: 20}), *tried(2, {1: 9, 4: 17, 8: 20.9})], 1, 4),
        ([*tried(1, {1: 10, 2: 15, 4: 19.2, 8: 20}), *tried(2, {1: 14, 4: 22, 8: 25})], 2, 8),
        ([*tried(1, {1: 10, 2: 15, 4: 19.2, 8: 20}), *tried(2, {1: 12, 4: 22, 8: 25})], 1, 4),
        ([*tried(1, {1: 10}), *tried(2, {1: 20}), *tried(4, {1: 20.5})], 2, 4),
    ],
)
def test_the_fewest_instances_and_the_smallest_batch_that_are_nearly_as_fast_as_any(
    measured: list[Measurement], instances: int, batch: int
) -> None:
    chosen = choose(measured, Serving(text_batch=7, queue_delay_us=5))
    assert (chosen.instances, chosen.image_batch) == (instances, batch)
    assert chosen.threads == 0
    assert (chosen.text_batch, chosen.queue_delay_us) == (7, 5)


def test_bulk_work_on_one_instance_has_batches_that_take_little_longer_than_one_row() -> None:
    assert bulk_batch(tried(1, {1: 10, 2: 15, 4: 20})) == 2
    assert bulk_batch(tried(1, {1: 10, 2: 11, 4: 12})) == 1
    assert bulk_batch(tried(1, {1: 10, 2: 20, 4: 40})) == 4


class FakeWorker:
    """A process whose every core takes 10 ms for a batch, and 1 ms more for each of its rows."""

    def __init__(self) -> None:
        self.looks = Counter[Order]()

    def begin(self, order: Order) -> None:
        self.order = order

    def answer(self) -> float:
        self.looks[self.order] += 1
        seconds = (0.010 + 0.001 * self.order.rows) / self.order.threads
        # Something else was busy at first.
        return seconds * 5 if self.looks[self.order] == 1 else seconds


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Trials of four cores; the processes that were asked for: kind, size of an input, number."""
    asked: list[tuple[str, int, int]] = []

    @contextlib.contextmanager
    def workers(graph, file, kind, shape, count):
        asked.append((kind, shape[0], count))
        yield [FakeWorker() for _ in range(count)]

    monkeypatch.setattr(trial, "workers", workers)
    monkeypatch.setattr(trial, "granted_cores", lambda: 4)
    return asked


def test_one_instance_that_is_as_fast_is_chosen_with_small_batches_for_bulk_work(
    fake: list[tuple[str, int, int]],
) -> None:
    seen: list[Measurement] = []
    found = run_trial(FACTS, None, None, Serving(), seen.append)
    assert fake == [("image", 8, 4), ("ragged", 16, 1)]
    assert {(it.instances, it.threads) for it in seen} == {(1, 4), (2, 2), (4, 1)}
    assert found.serving == Serving(image_batch=16, instances=1, image_bulk_batch=4, text_bulk_batch=4)
    assert set(found.measurements) <= set(seen)
    assert found.chosen.rate == pytest.approx(4 * 16 / 0.026)


def test_on_one_core_there_is_one_instance(
    fake: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "granted_cores", lambda: 1)
    found = run_trial(FACTS, None, None, Serving())
    assert {it.instances for it in found.measurements} == {1}


def test_batches_that_take_long_are_not_tried(
    fake: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "MAX_BATCH_SECONDS", 0.0065)
    monkeypatch.setattr(trial, "REPEATS", 4)
    found = run_trial(FACTS, None, None, Serving())
    assert max(it.rows for it in found.measurements if it.instances == 1) == 4


def test_the_choice_is_told_with_what_else_there_was() -> None:
    measured = [*tried(1, {1: 10, 8: 20}), *tried(2, {1: 16, 4: 22, 8: 25})]
    words = trial_summary(Trial(tuple(measured), choose(measured, Serving())))
    assert "2 instances of 2 threads, batches of 8: 25 images/s; one image alone 125 ms" in words
    assert words.endswith("; 1 instance of 4 threads: 20 images/s at best, in batches of 8")


def test_a_trial_whose_process_ends_says_so_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"")
    graph = SimpleNamespace(save_to_buffer=lambda: b"no graph")
    with (
        pytest.raises(ExportError, match=r"the trial .* failed: .*--instances 1"),
        trial.workers(graph, tmp_path / "image.pt", "image", [8, 8, 3], 1),
    ):
        pass
    assert not (tmp_path / "image.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [False, True])
def test_a_real_graph_is_timed_in_processes_of_its_own(
    tmp_path: Path, narrow_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch, fixed: bool
) -> None:
    from clipserve_exporter.export import Order as ExportOrder
    from clipserve_exporter.export import export

    monkeypatch.setattr(trial, "SECONDS", 0.01)
    name = narrow_model(tmp_path / "narrow")
    order = ExportOrder(name, "", "narrow", "fp32", "python", tmp_path / "models", 0, Serving(), fixed, True)
    exported = export(order)
    assert exported.trial is not None
    serving = exported.trial.serving
    config = (tmp_path / "models" / "narrow_image" / "config.pbtxt").read_text()
    assert f"max_batch_size: {serving.image_batch}\n" in config
    assert f"count: {serving.instances} " in config
    assert 'key: "threads" value { string_value: "split" }' in config
    assert all(it.rate > 0 and it.seconds > 0 for it in exported.trial.measurements)


def test_an_instances_process_and_the_trials_have_the_same_environment() -> None:
    backend = Path(clipserve_process.__file__).parent
    for file in (backend / "model.py", Path(trial.__file__).with_name("trial_worker.py")):
        code = file.read_text()
        assert code.index("os.environ.update(ENVIRONMENT | os.environ)") < code.index("import torch")
