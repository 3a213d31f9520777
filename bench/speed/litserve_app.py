"""open_clip behind LitServe, as its guide has it: to be run by the peers' own environment.

python bench/speed/litserve_app.py MODEL PORT

POST /predict with {"image": base64 of a file} gives {"embedding": [D numbers]}, normalized. The model is the
one that is exported for clipserve, in eager mode.
"""

from __future__ import annotations

import base64
import ctypes
import io
import os
import signal
import sys
from typing import Any

import litserve
import torch
from PIL import Image

BATCH, BATCH_SECONDS = 16, 0.01
TIMEOUT = 120.0
PR_SET_PDEATHSIG = 1


class Clip(litserve.LitAPI):
    """LitServe's steps of a request: decoded one by one, encoded in batches."""

    def setup(self, device: str) -> None:
        """Loads the model, in the process that runs it."""
        end_with_parent()
        from clipserve_exporter.source import load
        from clipserve_exporter.torchvision_shim import make_importable

        make_importable()
        from open_clip.transform import image_transform

        self.source = load(sys.argv[1])
        prepare = self.source.preprocess
        self.transform = image_transform(
            prepare.size, is_train=False, mean=prepare.mean, std=prepare.std, interpolation="bicubic"
        )

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        """A picture's pixels."""
        found: torch.Tensor = self.transform(Image.open(io.BytesIO(base64.b64decode(request["image"]))))
        return found

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Pictures of several requests."""
        return torch.stack(inputs)

    def predict(self, pixels: torch.Tensor) -> torch.Tensor:
        """Their embeddings."""
        return torch.nn.functional.normalize(self.source.encode_image(pixels), dim=-1)

    def unbatch(self, output: torch.Tensor) -> list[torch.Tensor]:
        """One for each request."""
        return list(output)

    def encode_response(self, output: torch.Tensor) -> dict[str, Any]:
        """An answer."""
        return {"embedding": output.tolist()}


def end_with_parent() -> None:
    """Has the kernel kill this process when its parent ends: LitServe leaves some behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """See the module's docstring."""
    server = litserve.LitServer(
        Clip(max_batch_size=BATCH, batch_timeout=BATCH_SECONDS), accelerator="cpu", timeout=TIMEOUT
    )
    os.register_at_fork(after_in_child=end_with_parent)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        generate_client_file=False,
        api_server_worker_type="thread",
        log_level="warning",
    )


if __name__ == "__main__":
    main()
