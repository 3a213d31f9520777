"""The fault matrix: real processes under load, one thing broken, and what callers notice of it.

`python -m faults` runs it; docs/reliability.md says what is promised and what was seen.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
