"""A fake encoder for pictures of any color."""

from __future__ import annotations

import numpy as np
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.triton.encoder import Rows
from clipserve_gateway.types import Floats, ModelSpec, Tower

from testing.fakes import FakeEncoder


class ColorBlind(FakeEncoder):
    """Gives a black picture a direction too."""

    async def encode(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        """See Encoder."""
        return np.float32(tower == "image") + await super().encode(spec, tower, rows, deadline)
