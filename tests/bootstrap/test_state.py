"""What an environment remembers can be read whatever is in the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap import state
from bootstrap.state import State

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = st.sampled_from(["root", "python", "device", "writing", "done", "proofs", "sizes", "other"])


def test_a_state_comes_back_as_it_was_written(tmp_path):
    known = State("/x", "3.11.2", "cpu", "", {"torch": "abc"}, {"torch": "lib/*"}, {"torch": [1, 2]})
    state.save(tmp_path, known)
    assert state.load(tmp_path) == known


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"done": null}', '{"done": []}', '{"proofs": {"a": 5}}', '{"proofs": {"a": ""}}',
     '{"proofs": {"a": "/x"}}', '{"unknown": 1}', "[" * 100_000],
)  # fmt: skip
def test_a_file_that_is_not_a_state_counts_as_none(tmp_path, text):
    (tmp_path / state.FILE).write_text(text)
    assert state.load(tmp_path) == State()


@given(st.dictionaries(FIELDS, JSON))
def test_any_json_can_be_read(tmp_path_factory, facts):
    import json

    folder = tmp_path_factory.mktemp("state")
    (folder / state.FILE).write_text(json.dumps(facts))
    known = state.load(folder)
    assert isinstance(known.done, dict)
    assert all(isinstance(proof, str) for proof in known.proofs.values())
