"""The zoo: which of open_clip's models the service serves, proved by one model of each kind.

A row is a model with random weights and the classes, tokenizer and preprocessing of a family.
`python -m zoo` exports rows, serves them in a real Triton and compares them, through the SDK, with open_clip.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "zoo" / "data"
