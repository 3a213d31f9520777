"""`clipserve-gateway verify`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from clipserve_gateway import errors
from clipserve_gateway.cli import main
from clipserve_gateway.verification import run as verification_run

from testing.fakes import SPEC, FakeTriton, towers
from testing.golden_files import golden_entries, write_golden
from testing.golden_tokenizers import SPECS, bundle, packed

KIND = "siglip2"
TRITON = ("--triton", "triton:8001")


@pytest.fixture
def run() -> Callable[..., Result]:
    def run(*words: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["verify", *map(str, words)])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


@pytest.fixture
def golden(tmp_path):
    return write_golden(tmp_path / "fake.golden.npz")


class Reached(FakeTriton):
    """A Triton that the command reaches."""

    closed = False

    async def towers(self, names, timeout):
        return [self.found[name] for name in names if name in self.found]

    async def close(self):
        self.closed = True


@pytest.fixture
def triton(monkeypatch):
    fake = Reached()
    monkeypatch.setattr(verification_run, "TritonEncoder", lambda target, headers: fake)
    return fake


def test_a_gateway_that_is_right_passes_without_a_triton(run, golden):
    shown = run("--golden", golden).output
    assert "✓ pixels of a.jpg" in shown
    assert "✓ ids of text 3" in shown
    assert "all 5 checks passed" in shown


def test_differences_are_listed_with_what_to_do_and_exit_code_1(run, tmp_path):
    entries = golden_entries()
    entries["ids"][0, 1] = 5
    entries["pixel_sha256"][1] = "0" * 64
    golden = write_golden(tmp_path / "a.npz", entries)
    shown = run("--golden", golden, code=1)
    assert "✗ pixels of b.png" in shown.stdout
    assert "✗ ids of text 1" in shown.stdout
    assert shown.stderr.count("→") == 2
    assert "2 of 5 checks failed" in shown.stderr
    document = json.loads(run("--golden", golden, "--json", code=1).stdout)
    assert not document["ok"]
    failed = [check["name"] for check in document["checks"] if check["status"] == "failed"]
    assert failed == ["pixels of b.png", "ids of text 1"]


def test_a_served_model_is_compared_too(run, golden, triton):
    shown = run("--golden", golden, *TRITON).output
    assert "✓ fingerprint" in shown
    assert "all 8 checks passed" in shown
    assert triton.closed
    triton.found |= {tower.triton_name: tower for tower in towers(fingerprint="0" * 64)}
    shown = run("--golden", golden, *TRITON, code=1)
    assert "✗ fingerprint" in shown.stdout
    assert "roll out the export that wrote the golden file" in shown.stderr


@pytest.fixture
def own(tmp_path, triton):
    """A golden file, with open_clip's ids, of a model whose tokenizer travels with it; Triton serves its
    towers."""
    spec, rows = SPECS[KIND], bundle(KIND)["checks"]
    entries = golden_entries(
        *(SPEC.preprocess, spec, [row["text"] for row in rows], [row["ids"] for row in rows]),
        truncated=[row["truncated"] for row in rows],
    )
    parameters = {
        "tokenizer": "huggingface",
        "tokenizer_sha256": spec.sha256,
        "text_clean": spec.clean,
        "pad_id": str(spec.pad_id),
        "vocab_size": str(spec.vocab_size),
        "context_length": str(spec.context_length),
    }
    if spec.strip_id is not None:
        parameters["strip_id"] = str(spec.strip_id)
    triton.found = {tower.triton_name: tower for tower in towers(**parameters)}
    return write_golden(tmp_path / "own.npz", entries)


def test_a_tokenizer_that_travels_with_its_model_comes_from_triton(run, triton, own):
    triton.bundles = {"fake": packed(KIND)}
    document = json.loads(run("--golden", own, *TRITON, "--json").stdout)
    assert document["ok"]
    assert len(document["checks"]) == 3 + 2 + len(bundle(KIND)["checks"])
    assert {check["status"] for check in document["checks"]} == {"passed"}


def test_without_triton_its_ids_are_skipped_with_the_option(run, own):
    shown = run("--golden", own).output
    assert "– ids" in shown
    assert "--triton" in shown
    assert "all 2 checks passed" in shown


def test_a_tokenizer_that_triton_lacks_fails_with_its_name(run, own):
    assert "fake_tokenizer" in run("--golden", own, *TRITON, code=1).stdout


def test_a_model_that_triton_lacks_is_refused(run, golden, triton):
    told = run("--golden", golden, *TRITON, "--model", "absent", code=1).stderr
    assert "Triton has no model 'absent'" in told
    assert "--model names it" in told


def test_a_triton_that_does_not_answer_is_told(run, golden, triton, monkeypatch):
    async def away(names, timeout):
        raise errors.ServerUnavailable("the inference server does not answer")

    monkeypatch.setattr(triton, "towers", away)
    assert "does not answer" in run("--golden", golden, *TRITON, code=1).stderr
    assert triton.closed


def test_bad_words_are_usage_errors(run, golden, tmp_path):
    run(code=2)
    run("--golden", tmp_path / "missing.npz", code=2)
    assert "need --triton" in run("--golden", golden, "--model", "demo", code=2).stderr


def test_a_file_that_is_no_golden_file_is_refused(run, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"junk")
    words = run("--golden", path, code=1).stderr
    assert "is not a golden file: it is not an archive of arrays, or it is cut" in " ".join(words.split())
