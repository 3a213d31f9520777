"""The fault matrix cannot pass by accident: no calls, a slow load, or a row that breaks off are failures."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

import faults.rows  # noqa: F401  (enters the rows)
from faults import __main__ as command
from faults import soak
from faults.calls import RECORD, Calls
from faults.fault_env import FaultEnv, LoadTooSlow, check_rate
from faults.flows import KINDS, Flow, embedding
from faults.report import Outcome, markdown
from faults.row import ROWS, Promise, Row, at_least, at_most, only


def calls(*facts: tuple[float, float, float, str]) -> Calls:
    """Calls of one flow: due, begin, end, code."""
    records = [(0, n, due, begin, end, code, "", 0) for n, (due, begin, end, code) in enumerate(facts)]
    return Calls(("flow",), np.array(records, dtype=RECORD))


def test_a_figure_that_is_none_breaks_its_promise():
    assert not at_most("p99", math.nan, 1.0).kept
    assert not at_least("share", math.nan, 1.0).kept
    assert at_most("p99", 0.05, 0.1).seen == "50 ms"


def test_a_pool_of_threads_that_grows_in_the_last_third_breaks_its_promise():
    pools = [{"work": n, "engine": e} for n, e in ((2, 10), (6, 20), (6, 30), (6, 31), (6, 37), (5, 12))]
    engine, work = soak.pool_growth(pools)
    assert (engine.kept, work.kept) == (False, True)
    assert "engine, at most 31" in engine.what


def test_codes_of_no_calls_show_nothing():
    assert not only("calls", Counter(), "OK").kept
    assert not only("calls", Counter(OK=4), "OK", least=5).kept
    assert not only("calls", Counter(OK=4, INTERNAL=1), "OK").kept
    assert only("calls", Counter(OK=5), "OK", least=5).kept


def test_a_load_that_is_late_is_told():
    flow = Flow("flow", "embed_text", rate=10)
    check_rate(flow, calls(*[(n / 10, n / 10 + 0.001, n / 10 + 0.1, "OK") for n in range(50)]), 0.05)
    with pytest.raises(LoadTooSlow, match="10 calls/s"):
        check_rate(flow, calls(*[(n / 10, n / 10 + 0.1, n / 10 + 0.2, "OK") for n in range(50)]), 0.05)
    with pytest.raises(LoadTooSlow):
        check_rate(flow, calls(), 0.05)


def test_recovery_is_reckoned_to_the_begin_of_the_last_failure():
    some = calls((0, 0, 1, "OK"), (1, 1, 2, "UNAVAILABLE"), (3, 3, 4, "UNAVAILABLE"), (5, 5, 6, "OK"))
    assert some.last_failure_after(2) == 1
    assert some.last_failure_after(4) == 0
    assert some.begun(1, 4).codes == Counter(UNAVAILABLE=2)
    assert some.ok.ended(before=2).codes == Counter(OK=1)


def test_records_survive_their_file(tmp_path):
    some = calls((0, 0, 1, "OK"), (1, 1, 2, "DEADLINE_EXCEEDED"))
    some.write(tmp_path / "calls.npz")
    again = Calls.read(tmp_path / "calls.npz")
    assert again.flows == ("flow",)
    assert again.records.tobytes() == some.records.tobytes()


def test_embeddings_that_are_sent_have_length_one_to_the_bit():
    for dim in (64, 256):
        vector = np.frombuffer(embedding(3, dim), "<f4")
        assert vector.shape == (dim,)
        assert np.linalg.norm(vector) == 1.0


def test_every_kind_of_call_can_be_made():
    for name, kind in KINDS.items():
        assert kind.request(Flow(name, name, collection="c"), 1).ByteSize() > 0 or name == "bad_request"


def test_rows_say_how_they_break_things():
    assert len(ROWS) >= 18
    assert all(len(row.how) > 30 for row in ROWS.values())
    assert [name for name, row in ROWS.items() if row.quick]


@pytest.fixture
def two_rows(monkeypatch):
    """A row that keeps its promise, and one that breaks off."""

    def good(env: FaultEnv):
        yield Promise("it holds", "yes | no", True)

    def broken(env: FaultEnv):
        yield Promise("it begins", "yes", True)
        raise OSError("the machine burns")

    rows = {
        "good": Row("good", "Nothing is done.", True, good),
        "broken": Row("broken", "All.", True, broken),
    }
    monkeypatch.setattr(command, "ROWS", rows)
    return rows


def test_a_row_that_breaks_off_fails_the_command(two_rows, tmp_path):
    out = tmp_path / "faults.md"
    done = CliRunner().invoke(command.main, ["--out", str(out)])
    assert done.exit_code == 1
    assert "broken FAILED" in done.output
    assert "| | it holds | yes \\| no | ✓ |" in out.read_text()
    assert "OSError: the machine burns | **✗** |" in out.read_text()


def test_a_row_that_keeps_its_promises_ends_with_0(two_rows, tmp_path):
    out = tmp_path / "faults.md"
    assert CliRunner().invoke(command.main, ["--rows", "good", "--out", str(out)]).exit_code == 0
    assert "2 of 2 promises kept" in out.read_text()


def test_an_unknown_row_is_named():
    done = CliRunner().invoke(command.main, ["--rows", "flood"])
    assert done.exit_code == 2
    assert "no row 'flood'" in done.output


def test_a_row_that_shows_nothing_does_not_pass():
    outcome = Outcome(ROWS["port-taken"], (), 1.0)
    assert not outcome.kept
    assert "0 of 0" in markdown([outcome], dt.datetime(2026, 1, 1), 60)
