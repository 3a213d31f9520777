"""What is measured without any server, in the models' environment: the ceiling, and the way of blog posts.

Orders are lines of JSON on standard input, each answered by one. The ceiling decodes as the gateway does and
runs the very TorchScript that Triton serves; the blog's way is open_clip's own model in eager mode, and its
own transform, one picture at a time.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

# As Triton's backend does it: threads that spin while they wait steal the cores of the others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from clipserve_exporter.source import load
from clipserve_gateway.inputs.preprocess import ImageLimits, load_image
from clipserve_gateway.types import ImageRules, Preprocess
from PIL import Image

from bench.offline import Towers, exact_pixels

Facts = dict[str, Any]
LIMITS = ImageLimits(max_bytes=1 << 28, max_pixels=1 << 28)


class Worker:
    """One model, as TorchScript and as open_clip's own."""

    def __init__(self, repository: str, name: str, model: str, photos: str) -> None:
        self.threads = len(os.sched_getaffinity(0))
        torch.set_num_threads(self.threads)
        self.towers = Towers(Path(repository), name)
        self.source = load(model)
        self.size = self.source.preprocess.height
        self.photos = [file.read_bytes() for file in sorted(Path(photos).glob("*.jpg"))]
        self.pool = ThreadPoolExecutor(self.threads)

    def decode(self, number: int) -> np.ndarray:
        """The pixels of one of the photographs, which start anew at the end, in the gateway's fast mode."""
        content = self.photos[number % len(self.photos)]
        return load_image(content, Preprocess(self.size, self.size), ImageRules(), limits=LIMITS, fast=True)

    def layouts(self) -> Facts:
        """The ways in which the ceiling can share the cores."""
        return {"layouts": list(LAYOUTS)}

    def ceiling(self, seconds: float, batch: int, layout: str) -> Facts:
        """Pictures a second, decoded and encoded in batches, in one of the layouts."""
        return {"rate": LAYOUTS[layout](self, seconds, batch)}

    def in_turn(self, seconds: float, batch: int) -> float:
        """All cores decode a batch, then encode it."""
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            self.towers.encode_images(self._gathered(self._begun(done, batch)))
            done += batch
        return done / (time.perf_counter() - start)

    def side_by_side(self, seconds: float, batch: int) -> float:
        """While all cores encode a batch, they decode the next one."""
        start, done, following = time.perf_counter(), 0, self._begun(0, batch)
        while time.perf_counter() - start < seconds:
            pixels = self._gathered(following)
            following = self._begun(done + batch, batch)
            self.towers.encode_images(pixels)
            done += batch
        return done / (time.perf_counter() - start)

    def apart(self, seconds: float, batch: int) -> float:
        """Each core decodes and encodes batches of its own, on a thread of this process."""

        def work(core: int) -> float:
            torch.set_num_threads(1)
            start, done = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                first = (done * self.threads + core) * batch
                pixels = np.stack([self.decode(number) for number in range(first, first + batch)])
                self.towers.encode_images(pixels)
                done += 1
            return done * batch / (time.perf_counter() - start)

        # Threads of this pool only: torch keeps the number for each thread that asks, and for later ones.
        with ThreadPoolExecutor(self.threads) as cores:
            rate = sum(cores.map(work, range(self.threads)))
        torch.set_num_threads(self.threads)
        return rate

    def _begun(self, first: int, batch: int) -> list[Future[np.ndarray]]:
        return [self.pool.submit(self.decode, number) for number in range(first, first + batch)]

    def _gathered(self, futures: list[Future[np.ndarray]]) -> np.ndarray:
        return np.stack([future.result() for future in futures])

    def blog(self, seconds: float) -> Facts:
        """Pictures a second, one at a time."""
        from open_clip.transform import image_transform

        prepare = self.source.preprocess
        transform = image_transform(
            (prepare.height, prepare.width),
            is_train=False,
            mean=prepare.mean,
            std=prepare.std,
            interpolation="bicubic",
        )
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            image = transform(Image.open(io.BytesIO(self.photos[done % len(self.photos)])))
            torch.nn.functional.normalize(self.source.encode_image(image[None]), dim=-1)
            done += 1
        return {"rate": done / (time.perf_counter() - start)}

    def embed(self, count: int) -> Facts:
        """Embeddings of the first pictures, decoded whole as open_clip does."""
        images = [Image.open(io.BytesIO(content)) for content in self.photos[:count]]
        pixels = np.stack([exact_pixels(image, self.size) for image in images])
        return {"embeddings": self.towers.encode_images(pixels).tolist()}

    def zero_shot(self, labels: list[str], templates: list[str]) -> Facts:
        """Seconds that open_clip's own builder takes for a classifier."""
        from open_clip import SimpleTokenizer, build_zero_shot_classifier

        start = time.perf_counter()
        with torch.no_grad():
            found = build_zero_shot_classifier(
                self.source.model,
                SimpleTokenizer(),
                labels,
                [lambda label, template=template: template.replace("{}", label) for template in templates],
                num_classes_per_batch=10,
            )
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "embeddings": found.T.tolist() if len(labels) <= 64 else []}


LAYOUTS: dict[str, Callable[[Worker, float, int], float]] = {
    "decoding, then encoding": Worker.in_turn,
    "decoding beside encoding": Worker.side_by_side,
    "each core by itself": Worker.apart,
}


def main() -> None:
    """See the module's docstring."""
    worker = Worker(*sys.argv[1:])
    print(json.dumps({"threads": worker.threads}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(getattr(worker, order.pop("do"))(**order)), flush=True)


if __name__ == "__main__":
    main()
