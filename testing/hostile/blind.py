"""A fake encoder for pictures of any color."""

from __future__ import annotations

import numpy as np
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.types import Floats, ModelSpec, Pixels

from testing.fakes import FakeEncoder


class ColorBlind(FakeEncoder):
    """Gives a black picture a direction too."""

    async def encode_image(self, spec: ModelSpec, pixels: Pixels, deadline: Deadline) -> Floats:
        """See Encoder."""
        return np.float32(1) + await super().encode_image(spec, pixels, deadline)
