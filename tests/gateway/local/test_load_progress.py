"""What a Triton that loads its models has done, by its log and the work of its processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from clipserve_gateway.local.load_progress import TOLD_SECONDS, LoadProgress, work_of

TRITON = 40


class Load:
    """A Triton that loads two models; tests write its log and its entries in /proc."""

    def __init__(self, folder: Path, *models: str) -> None:
        self.now = 100.0
        self.log, self.proc = folder / "triton.log", folder / "proc"
        self.log.write_text("I1130 the words of an earlier process: \"successfully loaded 'a_image'\"\n")
        self.work()
        towers = [f"{model}_{tower}" for model in models or ("a", "b") for tower in ("image", "text")]
        start = self.log.stat().st_size
        self.progress = LoadProgress(
            TRITON, [*towers, "other"], self.log, start, clock=lambda: self.now, proc=self.proc
        )

    def write(self, *words: str) -> None:
        with self.log.open("a") as log:
            for line in words:
                log.write(f'I1130 16:27:37.955696 25492 model_lifecycle.cc:472] "{line}"\n')

    def work(self, *, cpu: float = 0.0, read: int = 0) -> None:
        """Triton, a stub of it, and a process of another group that is always busy."""
        processes = {TRITON: (TRITON, cpu / 2), 41: (TRITON, cpu / 2), 42: (42, 1000 * cpu + self.now)}
        for pid, (group, seconds) in processes.items():
            (self.proc / str(pid)).mkdir(parents=True, exist_ok=True)
            fields = ["S", "1", str(group), *["0"] * 8, str(int(100 * seconds)), "0"]
            (self.proc / str(pid) / "stat").write_text(f"{pid} (a (b) c) {' '.join(fields)}\n")
            (self.proc / str(pid) / "io").write_text(f"rchar: 9\nread_bytes: {read}\nwrite_bytes: 1\n")

    def after(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.progress.look()


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return Load(tmp_path)


def test_a_model_is_loaded_when_both_towers_are(load: Load) -> None:
    load.write("loading: a_text:7", "successfully loaded 'a_text'")
    assert load.after(1) == []
    load.write("successfully loaded 'a_image'")
    assert load.after(1) == ["· model a is loaded (1 of 2)"]
    assert load.after(1) == []
    load.write("successfully loaded 'b_text'", "successfully loaded 'b_image'")
    assert load.after(1) == ["· model b is loaded (2 of 2)"]


def test_a_model_that_cannot_be_loaded_is_told_with_tritons_reason(load: Load) -> None:
    load.write("failed to load 'b_image' version 7: Internal: ValueError: no \x1b[2J weights", "more")
    [line] = load.after(1)
    assert line == "✗ model b: Triton cannot load b_image: Internal: ValueError: no \\x1b[2J weights (1 of 2)"
    load.write("successfully loaded 'b_text'")
    assert load.after(1) == [], "it was told once"


def test_of_one_model_nothing_is_told_but_that_it_takes_long(tmp_path: Path) -> None:
    load = Load(tmp_path, "big")
    load.write("TRITONBACKEND_ModelInstanceInitialize: big_image_0_0 (CPU device 0)")
    assert load.after(1) == []
    assert load.after(TOLD_SECONDS) == [
        "· after 16 s Triton still loads big_image, without progress for 15 s"
    ]
    load.write("successfully loaded 'big_image'")
    assert load.after(TOLD_SECONDS) == ["· after 31 s Triton still loads big_text"]


def test_each_new_line_of_the_log_is_progress(load: Load) -> None:
    load.after(50)
    assert load.progress.idle_seconds == 50
    load.write("anything")
    load.after(1)
    assert load.progress.idle_seconds == 0
    with load.log.open("a") as log:
        log.write("successfully loaded 'a_im")
    load.after(5)
    assert load.progress.idle_seconds == 5, "a line that is not complete"


@pytest.mark.parametrize(
    ("cpu", "read", "idle"), [(0.4, 0, 10.0), (0.6, 0, 0.0), (0.0, 1 << 18, 10.0), (0.0, 1 << 19, 0.0)]
)
def test_work_of_tritons_processes_is_progress_and_idle_threads_are_not(
    load: Load, cpu: float, read: int, idle: float
) -> None:
    load.work(cpu=cpu, read=read)
    load.after(10)
    assert load.progress.idle_seconds == idle


def test_little_work_does_not_add_up_to_progress(load: Load) -> None:
    for second in range(1, 200):
        load.work(cpu=0.01 * second)
        load.after(1)
    assert load.progress.idle_seconds == 199


def test_work_is_that_of_one_process_group(load: Load) -> None:
    load.work(cpu=3.0, read=50)
    assert work_of(TRITON, load.proc) == (3.0, 100)
    assert work_of(1, load.proc) == (0.0, 0)
