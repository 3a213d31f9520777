"""The values that calls take and return. All are immutable. Shapes: N items, D = embed_dim."""

from clipserve.types.collections import *  # noqa: F403
from clipserve.types.embeddings import *  # noqa: F403
from clipserve.types.label_sets import *  # noqa: F403
from clipserve.types.payload import *  # noqa: F403
from clipserve.types.points import *  # noqa: F403
from clipserve.types.results import *  # noqa: F403
from clipserve.types.server import *  # noqa: F403
