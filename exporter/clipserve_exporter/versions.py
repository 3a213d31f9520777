"""Version numbers in a Triton model repository: created, written to config.pbtxt, and read again.

Does not need torch, so that tests and tools can use it anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

CONFIG = "config.pbtxt"
PARAMETER = "model_version"
"""Parameter with the version that the configuration describes."""
FIRST_FORM = "1"
"""Version folder of exports without that parameter."""
SHAPE = ("format", "embed_dim", "image_size", "image_height", "image_width", "context_length", "text_length")
"""Parameters that determine the inputs and outputs of a configuration."""
BITS = 62

PARAMETER_LINE = re.compile(
    r'^parameters \{ key: ("(?:[^"\\]|\\.)*") value \{ string_value: ("(?:[^"\\]|\\.)*") \} \}$', re.MULTILINE
)
POLICY_LINE = re.compile(r"^version_policy \{ specific \{ versions: \[ ([\d, ]+) \] \} \}$", re.MULTILINE)


def version_number(configs: Mapping[str, str], folders: Mapping[str, Path]) -> int:
    """Returns a positive int64 from the hash of the configurations and files of all Triton models.

    It is at least 2**62, so that it differs from numbers that people choose.
    """
    whole = hashlib.sha256()
    for model in sorted(configs):
        parts = [(f"{model}/{CONFIG}", hashlib.sha256(configs[model].encode()).hexdigest())]
        parts += [(f"{model}/{name}", digest) for name, digest in digests(folders[model])]
        whole.update(json.dumps(parts).encode())
    return 1 << BITS | int.from_bytes(whole.digest()[:8], "big") & (1 << BITS) - 1


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the relative path and SHA-256 of each file below a folder, in order."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        yield path.relative_to(folder).as_posix(), digest.hexdigest()


def versioned(config: str, version: str, older: Sequence[str] = ()) -> str:
    """Adds to a configuration that it describes `version` and that Triton serves it and the `older` ones."""
    numbers = ", ".join((*older, version))
    return (
        f"{config.rstrip()}\n"
        f"version_policy {{ specific {{ versions: [ {numbers} ] }} }}\n"
        f'parameters {{ key: "{PARAMETER}" value {{ string_value: "{version}" }} }}\n'
    )


def parameters_of(config: str) -> dict[str, str]:
    """Returns the string parameters of a configuration that the exporter wrote."""
    return {json.loads(key): json.loads(value) for key, value in PARAMETER_LINE.findall(config)}


def served_version(folder: Path) -> str:
    """Returns the version that a Triton model's configuration describes."""
    try:
        config = (folder / CONFIG).read_text(encoding="utf-8")
    except FileNotFoundError:
        return FIRST_FORM
    return parameters_of(config).get(PARAMETER, FIRST_FORM)


def policy_of(config: str) -> list[str]:
    """Returns the versions that a configuration makes Triton serve; none if it has no policy."""
    policy = POLICY_LINE.search(config)
    return policy[1].replace(" ", "").split(",") if policy else []


def same_shape(config: str, other: str) -> bool:
    """Whether either configuration can serve the files of the other."""
    first, second = parameters_of(config), parameters_of(other)
    return all(first.get(key) == second.get(key) for key in SHAPE)
