"""What is measured without any server, in the models' environment: the ceiling, and the way of blog posts.

Orders are lines of JSON on standard input, each answered by one. The ceiling decodes on a thread for each
core and runs the very TorchScript that Triton serves; the blog's way is open_clip's own model in eager
mode, and its own transform, one picture at a time.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

# As Triton's backend does it: threads that spin while they wait steal the cores of the others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from clipserve_exporter.offline import Towers, exact_pixels
from clipserve_exporter.source import load
from PIL import Image

Facts = dict[str, Any]


class Worker:
    """One model, as TorchScript and as open_clip's own."""

    def __init__(self, repository: str, name: str, model: str, photos: str) -> None:
        self.threads = len(os.sched_getaffinity(0))
        torch.set_num_threads(self.threads)
        self.towers = Towers(Path(repository), name)
        self.source = load(model)
        self.size = self.source.preprocess.size
        self.photos = [file.read_bytes() for file in sorted(Path(photos).glob("*.jpg"))]
        self.pool = ThreadPoolExecutor(self.threads)

    def decode(self, content: bytes) -> np.ndarray:
        """As the gateway's exact mode."""
        return exact_pixels(Image.open(io.BytesIO(content)), self.size)

    def ceiling(self, seconds: float, batch: int, overlap: bool) -> Facts:
        """Pictures a second, decoded and encoded in batches; the next batch beside this one, if `overlap`."""

        def begin(number: int) -> list[Future[np.ndarray]]:
            first = number * batch
            chosen = [self.photos[i % len(self.photos)] for i in range(first, first + batch)]
            return [self.pool.submit(self.decode, content) for content in chosen]

        start, done, following = time.perf_counter(), 0, begin(0)
        while time.perf_counter() - start < seconds:
            pixels = np.stack([future.result() for future in following])
            if overlap:
                following = begin(done + 1)
            self.towers.encode_images(pixels)
            done += 1
            if not overlap:
                following = begin(done)
        return {"rate": done * batch / (time.perf_counter() - start)}

    def blog(self, seconds: float) -> Facts:
        """Pictures a second, one at a time."""
        from open_clip.transform import image_transform

        prepare = self.source.preprocess
        transform = image_transform(
            prepare.size, is_train=False, mean=prepare.mean, std=prepare.std, interpolation="bicubic"
        )
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            image = transform(Image.open(io.BytesIO(self.photos[done % len(self.photos)])))
            torch.nn.functional.normalize(self.source.encode_image(image[None]), dim=-1)
            done += 1
        return {"rate": done / (time.perf_counter() - start)}

    def embed(self, count: int) -> Facts:
        """The ceiling's embeddings of the first pictures."""
        pixels = np.stack([self.decode(content) for content in self.photos[:count]])
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


def main() -> None:
    """See the module's docstring."""
    worker = Worker(*sys.argv[1:])
    print(json.dumps({"torch": torch.__version__, "threads": worker.threads}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(getattr(worker, order.pop("do"))(**order)), flush=True)


if __name__ == "__main__":
    main()
