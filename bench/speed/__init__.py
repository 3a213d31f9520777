"""End-to-end speed: JPEG bytes in, answers out, beside ceilings and peers in the same run.

`python -m bench.speed` runs it; docs/performance.md shows and explains a run.
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bench"
MODELS_ENV = ROOT / ".venv-models"
PEER_ENV = ROOT / ".venv-peer"
