"""`clipserve verify`."""

from __future__ import annotations

import numpy as np
import pytest
from client.golden_files import write_golden


@pytest.fixture
def golden(tmp_path):
    return write_golden(tmp_path / "fake.golden.npz")


def spoiled(method, request, rows):
    return rows[::-1]


def test_a_right_server_passes_with_exit_code_0(run, golden):
    shown = run("verify", "--golden", golden)
    assert "✓ images as recorded" in " ".join(shown.stdout.split())
    assert "✗" not in shown.output
    assert "all 23 checks passed" in shown.stdout


def test_a_golden_file_may_come_from_standard_input(answer, run, golden):
    document = answer("verify", "--golden", "-", input=golden.read_bytes())
    assert document["ok"]
    assert document["golden"] == "standard input"
    words = run("verify", "--golden", "-", code=1, input=b"junk").stderr
    assert "is not a golden file: it is not an archive of arrays, or it is cut" in words


def test_without_a_golden_file_every_model_is_checked(answer, run):
    document = answer("verify")
    assert [model["model"] for model in document["models"]] == ["fake", "other"]
    assert document["ok"]
    assert document["golden"] is None
    assert [model["model"] for model in answer("verify", "--model", "other")["models"]] == ["other"]


def test_failed_checks_are_listed_with_what_to_do_and_exit_code_1(run, answer, golden, server):
    server.state.spoil = spoiled
    shown = run("verify", "--golden", golden, code=1)
    assert "✗ images in requests of 1 to 8" in " ".join(shown.stdout.split())
    assert "the rows of a request are mixed up: send no traffic" in " ".join(shown.stderr.split())
    assert "checks failed" in shown.stderr
    document = answer("verify", "--golden", golden, code=1)
    assert not document["ok"]
    [failed] = [
        check for check in document["models"][0]["checks"] if check["name"] == "images in requests of 16"
    ]
    assert failed["status"] == "failed"
    assert failed["remedy"]
    assert failed["figures"]["min_cosine"] < failed["figures"]["bound"]


def test_calls_are_bulk_and_one_at_a_time(run, golden, server):
    run("verify", "--golden", golden)
    calls = server.seen("Embed")
    assert {call.metadata["x-clipserve-priority"] for call in calls} == {"bulk"}
    assert server.state.most_in_flight == 1


def test_nothing_is_written_to_the_server(run, golden, server):
    run("verify", "--golden", golden)
    assert {call.method for call in server.state.calls} == {
        "GetServerInfo",
        "Embed",
        "EmbedStream",
        "Classify",
    }


def test_the_model_of_a_golden_file_may_be_served_under_another_name(answer, run, tmp_path):
    golden = write_golden(tmp_path / "a.npz", model="as exported")
    told = run("verify", "--golden", golden, code=1).stderr
    assert "no model 'as exported'" in told
    assert "--model names it as it is served" in told
    assert answer("verify", "--golden", golden, "--model", "fake")["ok"]


def test_an_unknown_model_is_refused_with_where_to_look(run):
    told = run("verify", "--model", "absent", code=1).stderr
    assert "no model 'absent'" in told
    assert "`clipserve info` lists the models" in told


def test_a_golden_file_of_another_model_fails_with_what_to_do(run, tmp_path):
    golden = write_golden(tmp_path / "a.npz", fingerprint="0" * 64)
    shown = run("verify", "--golden", golden, code=1)
    assert "roll out the export that wrote the golden file" in " ".join(shown.stderr.split())
    assert "1 of 23 checks failed" in shown.stderr


def test_a_file_that_is_no_golden_file_is_refused(run, answer, tmp_path, server):
    path = tmp_path / "a.npz"
    np.savez(path, facts=np.array("{}"))
    assert "is not a golden file" in run("verify", "--golden", path, code=1).stderr
    run("verify", "--golden", tmp_path / "missing.npz", code=2)
    assert not server.state.calls


def test_a_server_that_cannot_be_reached_is_exit_code_4(run, server):
    server.stop()
    run("verify", "--timeout", "1", code=4)


def test_a_model_that_is_not_ready_fails(run, server):
    server.state.ready = False
    told = run("verify", code=1).stderr
    assert "wait until `clipserve info` shows the model as ready" in told
