"""Rules for lines of Triton's log: a pattern, the cause and the remedy, one sentence each.

They are in data/triton_log_rules.toml.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import tomllib

FILE = resources.files("clipserve_gateway") / "data" / "triton_log_rules.toml"
NO_ADDRESS_SPACE = "Triton has used up its address space"
"""Symptom of a Triton that waits forever for a thread that it cannot create."""
NO_PROGRESS = "Triton has made no progress"
"""Symptom of a Triton that loads models, and neither logs nor works."""

_content: dict[str, Any] = tomllib.loads(FILE.read_text(encoding="utf-8"))
SENTENCES: dict[str, str] = _content["sentences"]
"""Parts of causes and remedies, by name."""
RULES = tuple(("".join(rule["pattern"]), rule["cause"], rule["remedy"]) for rule in _content["rules"])
"""Pattern, cause and remedy. Causes name groups of the pattern; causes and remedies name sentences."""
