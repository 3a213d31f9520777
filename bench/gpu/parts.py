"""The parts of the measurement, in order, and what each of them covers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from clipserve_exporter.config import ModelFacts, render
from clipserve_exporter.export import Order, facts_of
from clipserve_exporter.repository import TowerFiles, write
from clipserve_exporter.source import Source, load
from clipserve_exporter.versions import served_version

from bench.gpu import decode, profile, towers, triton, variants
from bench.gpu.machine import ceilings, facts
from bench.gpu.setups import Setup, setups

LARGE = "ViT-L-14"
"""Is measured in one precision: it says nothing new about the others."""
TEXT_TOKENS = (16, 77)
"""An ordinary prompt, and the whole context."""


@dataclass
class Run:
    """One measurement; each part is a method."""

    device: str
    models: list[str]
    batches: list[int]
    quick: bool
    report: Any
    backend: Path | None = None
    folder: Path = Path()
    _sources: dict[str, Source] = field(default_factory=dict)
    _facts: dict[str, ModelFacts] = field(default_factory=dict)

    def source(self, model: str) -> Source:
        """A model, with random weights where it has none of its own. Loaded once."""
        if model not in self._sources:
            self._sources[model] = load(model)
        return self._sources[model]

    @property
    def best(self) -> str:
        """The precision to serve in: few CPUs compute in fp16."""
        return "fp16" if self.device == "cuda" else "fp32"

    @property
    def seconds(self) -> float:
        """For each figure."""
        return 0.02 if self.quick else 0.1

    def graph(self, source: Source, tower: str, precision: str = "") -> torch.jit.ScriptModule:
        """An exported tower on the device, as a server has it."""
        made = towers.graph_of(source, tower, precision or self.best, self.device)
        return towers.loaded(made, self.device)

    @cached_property
    def first(self) -> str:
        """The model of the deeper looks."""
        return self.models[0]

    def machine(self) -> None:
        """Facts and ceilings."""
        self.report.found["machine"] = facts(self.device)
        self.report.found["ceilings"] = ceilings(self.device, self.quick)
        self.report.say(str(self.report.found["machine"]))
        self.report.say(str(self.report.found["ceilings"]))

    def towers(self) -> None:
        """Every model, tower and precision by batch size."""
        for model in self.models:
            one = model == LARGE or self.quick
            for precision in (self.best,) if one else (self.best, "bf16", "fp32"):
                for tower in ("image", "text"):
                    self.tower(model, tower, precision)
                    self.report.write()

    def tower(self, model: str, tower: str, precision: str) -> None:
        """One of them."""
        source = self.source(model)
        graph = self.graph(source, tower, precision)
        cosine = towers.parity_of(source, graph, tower, precision, self.device)
        lengths = TEXT_TOKENS if precision == self.best else TEXT_TOKENS[:1]
        for tokens in (0,) if tower == "image" else lengths:
            if tower == "image":
                flops, inputs = towers.image_flops(source), partial(towers.pixels, source)
            else:
                flops = towers.text_flops(source, tokens)
                inputs = partial(towers.prompts, tokens=tokens)
            which = {"model": model, "tower": tower, "precision": precision, "tokens": tokens}
            rows = list(towers.sweep(graph, inputs, self.batches, self.device, self.seconds))
            peak = self.report.found.get("ceilings", {}).get(f"{precision}_tflops", float("nan")) * 1e12
            for row in rows:
                row["utilization"] = row["device_per_s"] * flops / peak
            self.report.add("towers", which | {"flops": flops, "min_cosine": cosine, "rows": rows})
            best = max(rows, key=lambda row: row["device_per_s"])
            self.report.say(
                f"{which}: cosine {cosine:.6f}, {flops / 1e9:.2f} GFLOP; at {best['batch']} "
                f"{best['device_per_s']:,.0f}/s ({best['utilization']:.0%} of the matrix rate), "
                f"from the host {best['host_per_s']:,.0f}/s"
            )

    def gathering(self) -> None:
        """Single pictures to the device."""
        batches = [2] if self.quick else [8, 32, 64, 128]
        for row in towers.gathering(self.source(self.first), batches, self.device, self.seconds):
            self.report.add("gathering", row)
            self.report.say(
                f"{row['batch']:3} {row['way']:12} {row['threads']:2} threads: {row['ms']:.2f} ms"
            )

    def profile(self) -> None:
        """Kernels at a small and a large batch."""
        for model, tower, batch in (
            (self.first, "image", 32), (self.first, "image", 256), (self.first, "text", 64),
            ("demo", "image", 32), ("demo", "image", 256),
        ):  # fmt: skip
            source = self.source(model)
            graph = self.graph(source, tower)
            small = min(batch, 2) if self.quick else batch
            inputs = towers.pixels(source, small) if tower == "image" else towers.prompts(small, 16)
            found = profile.kernels(graph, inputs, self.device)
            self.report.add("profile", {"model": model, "tower": tower, "batch": batch, **found})
            self.report.say(
                f"{model} {tower} {batch}: {found['wall_us']:,.0f} µs, kernels {found['kernels_us']:,.0f} µs"
            )
            for row in found["top"][:8]:
                self.report.say(f"    {row['share']:5.1%} {row['count']:4.0f}× {row['kernel'][:100]}")

    def variants(self) -> None:
        """Other ways to make the graph."""
        batches = [1, 2] if self.quick else [1, 8, 32, 128]
        texts = [(self.first, "text", tokens) for tokens in TEXT_TOKENS]
        for model, tower, tokens in ((self.first, "image", 0), *texts, ("demo", "image", 0)):
            which = {"model": model, "tower": tower, "tokens": tokens, "precision": self.best}
            rows = list(
                variants.compare(
                    self.source(model), tower, self.best, self.device, batches, tokens, self.seconds
                )
            )
            self.report.add("variants", which | {"rows": rows})
            self.report.say(str(which))
            for name in dict.fromkeys(row["variant"] for row in rows):
                mine = [row for row in rows if row["variant"] == name]
                told = "  ".join(
                    row.get("error", "")[:90] or f"{row['batch']}: {row['device_per_s']:,.0f}/s"
                    for row in mine
                )
                self.report.say(f"    {name:40} {told}  cosine {min(r.get('cosine', 1) for r in mine):.5f}")
            self.report.write()

    def first_calls(self) -> None:
        """Batch sizes that no warmup has seen."""
        largest = 4 if self.quick else 32
        asked = [(self.first, "image", without) for without in ("", "fuser", "cudnn_attention")]
        asked += [(self.first, "text", without) for without in ("", "cudnn_attention")]
        asked += [("demo", "image", without) for without in ("", "fuser")]
        for model, tower, without in asked:
            source = self.source(model)
            file = self.folder / f"{tower}.pt"
            self.graph(source, tower).save(str(file))
            words = (str(file), tower, str(source.preprocess.height), self.device, str(largest))
            found = in_fresh_process(*words, "--without", without)
            self.report.add("first_calls", {"model": model, **found})
            self.report.say(
                f"{model} {tower} without {without or 'nothing'}: worst {found['worst_ms']:,.0f} ms, "
                f"over 40 ms {found['over_40_ms']}, first calls of {len(found['first_ms'])} sizes "
                f"{found['sum_of_firsts_ms']:,.0f} ms, steady {found['steady_ms']}"
            )
            self.report.write()

    def triton(self) -> None:
        """The real Triton, started anew for each way to serve."""
        torch.cuda.empty_cache()
        failed = []
        for name, setup in setups(self.first, self.backend, self.quick).items():
            self.report.add("setups", {"name": name, "model": setup.model, **vars(setup.serving)})
            try:
                self.serve(name, setup)
            except (AssertionError, OSError, RuntimeError) as error:
                failed.append(f"{name}: {str(error)[-3000:]}")
                self.report.say(failed[-1])
            self.report.write()
        if failed:
            raise RuntimeError("; ".join(failed))

    def serve(self, name: str, setup: Setup) -> None:
        """One way to serve."""
        repository = self.folder / name
        self.write(name, setup, repository)
        processes = min(8, max(2, (os.cpu_count() or 2) // 2))
        side = self.source(setup.model).preprocess.height
        seconds = 0.5 if self.quick else 1.5
        for row in triton.measure(repository, setup.points, side, seconds, processes):
            self.report.add("triton", row | {"processes": processes})
            cores = row["cores"] | {"callers": row["client_cores"]}
            self.report.say(
                f"{row['model']:16} {row['transport']:4} {row['items']:2} × {row['callers']:3}: "
                f"{row['per_s']:8,.0f}/s  p50 {row['p50_ms'] or 0:6.1f} ms  p99 {row['p99_ms'] or 0:6.1f}  "
                f"batch {row['mean_batch']:5.1f}  execution {row['execution_ms']:5.1f} ms × "
                f"{row['executions_per_s']:5.0f}/s  cores "
                + " ".join(f"{part} {used:.1f}" for part, used in cores.items())
                + f" {row.get('errors', '')}"
            )

    def write(self, name: str, setup: Setup, repository: Path) -> None:
        """Writes towers for Triton's Python backend as the exporter does, but for comparing them again."""
        model, serving = setup.model, setup.serving
        source = self.source(model)
        if model not in self._facts:
            order = Order(model, "", name, self.best, "python", repository, 0, serving)
            self._facts[model] = facts_of(source, order)
        facts = replace(self._facts[model], name=name)
        towers = {point.model.rpartition("_")[2] for point in setup.points}
        files = {
            f"{name}_{tower}": TowerFiles(render(facts, serving, tower), self.graph(source, tower), True)
            for tower in towers
        }
        write(repository, files)
        if setup.backend is not None:
            for tower in towers:
                folder = repository / f"{name}_{tower}"
                shutil.copy(setup.backend, folder / served_version(folder) / "model.py")

    def decode(self) -> None:
        """Pictures decoded on this machine's processors."""
        counts = [count for count in (1, 2, 4, 8, 16, 32) if count <= (os.cpu_count() or 1)]
        sizes = decode.SIZES[:1] if self.quick else decode.SIZES
        for row in decode.scaling(counts, 0.2 if self.quick else 0.5, sizes):
            self.report.add("decode", row)
            mode = "fast" if row["fast"] else "exact"
            self.report.say(
                f"{row['width']}×{row['height']} {mode} {row['threads']:2} threads: "
                f"{row['images_per_s']:,.0f}/s, {row['cpu_ms']:.2f} ms of CPU a picture"
            )


def in_fresh_process(*words: str) -> dict[str, Any]:
    """What `python -m bench.gpu first` finds."""
    command = [sys.executable, "-m", "bench.gpu", "first", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=180)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


# One process measures: more threads than cores would only disturb Triton and its callers.
torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))
