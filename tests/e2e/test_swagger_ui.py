"""The committed Swagger UI is the package that the lock file pins."""

from __future__ import annotations

import gzip

import pytest

from testing.javascript import packages
from testing.swagger_ui import COMPRESSED, TARGET, files


@pytest.mark.slow
def test_the_committed_files_are_those_of_the_package() -> None:
    for name, content in files(packages()).items():
        if name in COMPRESSED:
            assert gzip.decompress((TARGET / f"{name}.gz").read_bytes()) == content, "run `make swagger-ui`"
        else:
            assert (TARGET / name).read_bytes() == content, "run `make swagger-ui`"
