"""The page's modules and the API's messages fit together."""

from __future__ import annotations

import re
import subprocess

import pytest

from testing.typescript import FILES, TYPES, types_of

OPTIONS = (
    *("--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "es2022"),
    *("--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable"),
)


def test_the_types_are_those_of_the_protos():
    assert TYPES.read_text() == types_of(FILES), "run `make protos`"


def test_types_follow_the_rules_of_protobuf_in_json():
    types = types_of(FILES)
    for declaration in (
        'export type ScoreMode =\n  | "SCORE_MODE_UNSPECIFIED"\n',
        "  images?: Image[];\n",
        "  content?: Bytes;\n",
        "  payload?: Record<string, Value>;\n",
        "  timestampValue?: Timestamp;\n",
        "  intValue?: Int64;\n",
        '  "ClipService/Classify": [ClassifyRequest, ClassifyResponse];\n',
    ):
        assert declaration in types
    assert "Stream" not in types.partition("export interface Methods")[2]


def test_the_pages_modules_call_methods_that_exist():
    known = set(re.findall(r'"(\w+Service/\w+)"', TYPES.read_text()))
    called = {
        name
        for path in TYPES.parent.glob("*.js")
        for name in re.findall(r'"(\w+Service/\w+)"', path.read_text())
    }
    assert len(called) > 5
    assert called <= known


@pytest.mark.slow
def test_the_pages_modules_have_no_error_of_types(tmp_path):
    from testing.javascript import packages

    modules = sorted(map(str, TYPES.parent.glob("*.js")))
    compiler = packages() / ".bin" / "tsc"
    done = subprocess.run(
        [compiler, *OPTIONS, *modules], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
