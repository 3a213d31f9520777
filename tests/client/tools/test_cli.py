"""The command, as a person and as a machine use it."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys

import click
import numpy as np
import pytest
from client.fake_server import Refused
from client.pictures import pixels, png
from clipserve import Client
from clipserve.filters.conditions import And, Eq, F, Not, Range
from clipserve.tools.cli import main
from clipserve.tools.cli.info import which_default
from clipserve.tools.cli.where import parse_where
from clipserve.types import Limits, ModelInfo, ModelRef, ServerInfo
from PIL import Image

COMMANDS = ("info", "classify", "embed", "index", "search", "collections", "evaluate")
COMMANDS += ("labels", "delete", "dedupe", "export", "import", "migrate")


def every_command():
    for name in COMMANDS:
        command = main.commands[name]
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", command.commands[inner]) for inner in command.commands)


@pytest.mark.parametrize(("name", "command"), list(every_command()))
def test_every_command_has_help(run, name, command):
    text = run(*name.split(), "--help").output
    assert text.startswith(f"Usage: clipserve {name}")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_examples_in_the_help_are_real(name):
    command = main.commands[name] if name else main
    lines = (command.help or "").splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith("clipserve ")]
    assert examples
    for example in examples:
        words = shlex.split(example)[1:]
        used = main.commands[words[0]]
        known = {option for parameter in used.params for option in parameter.opts}
        if isinstance(used, click.Group):
            known |= {option for inner in used.commands.values() for p in inner.params for option in p.opts}
        assert {word for word in words if re.match(r"-[-a-z]", word)} <= known, example


def test_exit_codes_are_documented(run):
    assert "4  the server cannot be reached" in run("--help").output


def test_the_version_is_told(run):
    assert run("--version").output.startswith("clipserve 0.")


def test_info_shows_models_and_limits(run, answer, server):
    text = run("info").output
    assert "fake (default)" in text
    assert "ready" in text
    assert "4,194,304" in text
    found = answer("info")
    assert found["models"][0]["ref"]["embed_dim"] == 16
    assert found["limits"]["max_items_per_call"] == 16


def test_classify_offers_none_of_the_above(answer, run, photos):
    words = ("classify", photos / "a.png", "--labels", "cat,dog", "-k", "0")
    for more, expected in (((), {"cat", "dog"}), (("--none",), {"cat", "dog", "none of the above"})):
        [row] = answer(*words, *more)["results"]
        assert {score["label"] for score in row["labels"]} == expected
    text = run("classify", photos / "a.png", "--label-set", "pets", "--none", code=2).output
    assert "says itself whether none of the above is offered" in " ".join(text.split())


def test_classify_names_pictures(run, answer, photos):
    text = run("classify", photos / "a.png", "--labels", "cat, dog,bird", "-k", "2").output
    assert "a.png" in text
    assert text.count("%") == 2
    found = answer("classify", photos, "-l", "cat", "-l", "dog,bird", "-t", "a {}", "-t", "the {}")
    assert [row["image"] for row in found["results"]] == sorted(row["image"] for row in found["results"])
    assert len(found["results"]) == 5
    assert sum(score["probability"] for score in found["results"][0]["labels"]) == pytest.approx(1, abs=1e-5)


def test_names_are_never_read_as_markup(run, photos):
    text = run("classify", photos / "sea" / "[bold]e.png", "--labels", "[red]cat[/red],dog").output
    assert "[bold]e.png" in text
    assert "[red]cat[/red]" in text


def test_labels_come_from_files_and_sets(answer, photos, tmp_path, server):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\n\n  wild dog \n")
    found = answer("classify", photos / "a.png", "--labels-file", labels, "-k", "0")
    assert {score["label"] for score in found["results"][0]["labels"]} == {"cat", "wild dog"}
    found = answer("classify", photos / "a.png", "--label-set", "cifar10")
    assert len(found["results"][0]["labels"]) == 5
    assert answer("classify", photos / "a.png", "--label-set", "cifar10", "-t", "{}")["results"]


def test_thresholds_give_verdicts(answer, run, photos):
    words = ("classify", photos / "a.png", "--labels", "a,b", "--mode", "independent", "--threshold", "-1")
    assert all(score["above_threshold"] for score in answer(*words)["results"][0]["labels"])
    assert "✓ " in run(*words).output


@pytest.mark.parametrize(
    "words", [(), ("--labels", "a", "--label-set", "cifar10"), ("--labels-file", "/missing")]
)
def test_labels_must_be_said_once(run, photos, words):
    assert "Error:" in run("classify", photos / "a.png", *words, code=2).output


def test_labels_that_are_given_in_two_ways_are_named(run, photos, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    ways = {"--labels": "a", "--labels-file": tmp_path / "a.txt", "--label-set": "pets"}
    for one, other in itertools.combinations(ways, 2):
        told = run("classify", photos / "a.png", one, ways[one], other, ways[other], code=2).stderr
        assert f"give only one of {one} and {other}" in told
    every = [word for way in ways.items() for word in way]
    told = run("classify", photos / "a.png", *every, code=2).stderr
    assert "give only one of --labels, --labels-file and --label-set" in told
    assert "say which labels to choose from" in run("classify", photos / "a.png", code=2).stderr


def test_broken_pictures_are_listed_and_the_exit_code_says_so(run, answer, photos):
    (photos / "broken.png").write_bytes(b"junk")
    result = run("classify", photos, "--labels", "a,b", code=3)
    assert "✗" in result.stderr
    assert "broken.png" in result.stderr
    assert "a.png" in result.stdout
    found = answer("classify", photos, "--labels", "a,b", code=3)
    failed = [row for row in found["results"] if "error" in row]
    assert failed[0]["error"]["reason"] == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("suffix", ["npy", "npz", "json"])
def test_embeddings_are_written(run, photos, tmp_path, client, suffix):
    out = tmp_path / f"out.{suffix}"
    text = run("embed", photos / "a.png", "--text", "a cat", "-o", out).output
    assert "wrote 2 × 16 embeddings" in text
    expected = [
        client.embed_images([photos / "a.png"]).embeddings[0],
        client.embed_texts(["a cat"]).embeddings[0],
    ]
    if suffix == "npy":
        found = np.load(out)
    elif suffix == "npz":
        with np.load(out) as arrays:
            found = arrays["embeddings"]
            assert arrays["names"].tolist() == [str(photos / "a.png"), "a cat"]
            assert str(arrays["fingerprint"]) == "f" * 64
    else:
        found = np.array([row["embedding"] for row in json.loads(out.read_text())["rows"]], np.float32)
    np.testing.assert_array_equal(found, expected)


def test_embeddings_can_be_printed(answer, run, photos, tmp_path):
    found = answer("embed", "--text", "x", "--text", "y" * 20, "--raw")
    assert [len(row["embedding"]) for row in found["rows"]] == [16, 16]
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n" + "word " * 100)
    assert len(answer("embed", "--texts-file", texts)["truncated"]) == 1
    (photos / "broken.png").write_bytes(b"junk")
    found = answer("embed", photos, code=3)
    assert sum(row["embedding"][0] is None for row in found["rows"]) == 1
    run("embed", photos, code=2)
    run("embed", "-o", "x.npy", code=2)
    run("embed", "--text", "x", "-o", "x.txt", code=2)


@pytest.mark.parametrize("name", ["hits.png", "hits.html"])
def test_hits_are_drawn(run, photos, tmp_path, name):
    run("index", photos, "-c", "holiday")
    result = run("search", "a dog", "-c", "holiday", "-k", "3", "--sheet", tmp_path / name)
    assert f"wrote {tmp_path / name}" in result.stdout
    assert (tmp_path / name).stat().st_size > 1000
    (photos / "a.png").rename(photos / "moved.png")
    result = run("search", "a dog", "-c", "holiday", "--sheet", tmp_path / name)
    assert "1 pictures are not shown: they are not where they were indexed" in result.stderr


def test_a_moved_folder_is_named_with_root(answer, photos, tmp_path):
    answer("index", photos, "-c", "holiday")
    photos.rename(tmp_path / "moved")
    found = answer("search", "x", "-c", "holiday", "--root", tmp_path / "moved")
    assert all(hit["path"].startswith(str(tmp_path / "moved")) for hit in found["hits"])


def test_conditions_narrow_the_search(answer, run, photos):
    answer("index", photos, "-c", "holiday")
    found = answer("search", "x", "-c", "holiday", "-w", "folder=sea", "-w", "modified>=2020-01-01")
    assert {hit["payload"]["folder"] for hit in found["hits"]} == {"sea"}
    assert answer("search", "x", "-c", "holiday", "-w", "bytes>99999999")["hits"] == []
    assert "nothing found" in run("search", "x", "-c", "holiday", "--threshold", "1").output
    assert "has no field 'year'" in run("search", "x", "-c", "holiday", "-w", "year=1", code=2).output


def test_searches_need_one_query_and_a_sheet_a_known_suffix(run, photos):
    run("search", "-c", "holiday", code=2)
    run("search", "x", "--image", photos / "a.png", "-c", "holiday", code=2)
    run("search", "x", "-c", "holiday", "--sheet", "x.gif", code=2)


def test_collections_are_listed_and_removed(run, answer, client):
    assert "no collections" in run("collections").output
    client.create_collection("one_thing", schema={"path": "string"})
    assert "one_thing" in run("collections").output
    assert answer("collections")["collections"][0]["schema"] == {"path": "string"}
    assert answer("collections", "list")["collections"][0]["count"] == 0
    assert "Aborted" in run("collections", "rm", "one_thing", input="n\n", code=1).output
    assert "removed one_thing" in run("collections", "rm", "one_thing", input="y\n").output
    assert "no collection" in run("collections", "rm", "one_thing", "-y", code=1).output


@pytest.fixture
def cifar(tmp_path):
    """Twenty pictures in CIFAR-10's binary layout."""
    rows = [bytes([i % 10]) + pixels(i, 32, 32).transpose(2, 0, 1).tobytes() for i in range(20)]
    (tmp_path / "test_batch.bin").write_bytes(b"".join(rows))
    return tmp_path


def test_sets_are_evaluated(run, answer, cifar, server):
    text = run("evaluate", "cifar10", "--data", cifar).output
    assert "CIFAR-10 test" in text
    assert "airplane" in text
    found = answer("evaluate", "cifar10", "--data", cifar, "--limit", "10")
    assert (found["images"], found["templates"], found["classes"]) == (10, 18, 10)
    with Client(server.address) as client:
        labels = [str(name) for name in ("airplane", "automobile")]
        assert client.classify([pixels(0, 32, 32)], labels)[0].label in labels


def test_templates_are_ones_own(answer, cifar, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("{}\na {}\n")
    found = answer("evaluate", "cifar10", "--data", cifar, "-t", "the {}", "--templates-file", prompts)
    assert found["templates"] == 3


def test_reports_and_predictions_are_written(run, cifar, tmp_path):
    for report, predictions in (("r.html", "p.csv"), ("r.png", "p.npz")):
        run(
            "evaluate",
            "cifar10",
            "--data",
            cifar,
            "--report",
            tmp_path / report,
            "--predictions",
            tmp_path / predictions,
        )
        assert (tmp_path / report).exists()
        assert (tmp_path / predictions).exists()
    run("evaluate", "cifar10", "--data", cifar, "--report", "r.pdf", code=2)
    run("evaluate", "cifar10", "--data", cifar, "--predictions", "p.txt", code=2)


def test_folders_of_classes_are_evaluated_and_broken_ones_listed(run, answer, tmp_path):
    for i, name in enumerate(("red_panda/a.png", "red_panda/b.png", "tiger/c.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(i))
    assert answer("evaluate", "folder", "--data", tmp_path)["classes"] == 2
    (tmp_path / "tiger" / "d.png").write_bytes(b"junk")
    result = run("evaluate", "folder", "--data", tmp_path, code=3)
    assert "tiger/d.png" in result.stderr
    assert "red panda" in result.stdout


def test_imagenet_is_evaluated(answer, tmp_path):
    for wnid in ("n01440764", "n02123045"):
        (tmp_path / wnid).mkdir()
        Image.fromarray(pixels(1)).save(tmp_path / wnid / "x.JPEG", "JPEG")
    found = answer("evaluate", "imagenet", "--data", tmp_path, "-t", "{}")
    assert (found["classes"], found["images"]) == (1000, 2)


def test_sets_that_cannot_be_read_say_why(run, tmp_path):
    text = run("evaluate", "cifar10", "--data", tmp_path, code=1).output
    assert text.startswith("Error: no CIFAR-10 test set found")


@pytest.mark.parametrize(
    ("refused", "code", "hint"),
    [
        (Refused("UNAVAILABLE", "MODEL_UNAVAILABLE", "not loaded"), 4, "`clipserve info` shows"),
        (Refused("UNAUTHENTICATED", "", "who are you", details=False), 1, "--token"),
        (Refused("PERMISSION_DENIED", "", "no", details=False), 1, "token that is allowed"),
        (Refused("RESOURCE_EXHAUSTED", "OVERLOADED", "busy", retry_after=99), 4, "try again later"),
        (Refused("RESOURCE_EXHAUSTED", "", "too large", details=False), 1, "too large"),
        (Refused("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "late"), 4, "--timeout"),
        (Refused("INTERNAL", "INFERENCE_FAILED", "oh"), 1, "server's log"),
        (Refused("UNIMPLEMENTED", "", "?", details=False), 1, "is it a clipserve gateway"),
    ],
)
def test_errors_are_one_sentence_with_what_to_do(run, server, refused, code, hint):
    server.script("ListCollections", *[refused] * 9)
    text = run("collections", code=code).output
    assert text.startswith("Error: ")
    assert hint in text
    assert len(text.splitlines()) == 1


def test_errors_are_json_where_that_is_wanted(run, server):
    result = run("search", "x", "-c", "missing", "--json", code=1)
    assert result.stdout == ""
    found = json.loads(result.stderr)["error"]
    assert found["reason"] == "COLLECTION_NOT_FOUND"
    assert found["request_id"] == "fake-request"


def test_a_server_that_is_not_there_is_named(run):
    text = run("info", "--target", "127.0.0.1:9", code=4).output
    assert "no server answers at 127.0.0.1:9: connection refused: nothing listens there" in text
    assert "?;" not in text
    assert "clipserve-gateway up" in text
    assert "write HOST:PORT" in run("info", "-s", "http://x", code=2).output


def test_options_of_the_server_stand_before_or_after_the_command(run, server, monkeypatch):
    monkeypatch.setenv("CLIPSERVE_TARGET", "127.0.0.1:9")
    assert "fake" in run("--target", server.address, "info").output
    assert "fake" in run("info", "--server", server.address).output
    assert "fake" in run("-s", "127.0.0.1:11", "info", "-s", server.address).output
    assert json.loads(run("--json", "-s", server.address, "collections", "list").stdout) == {
        "collections": []
    }


def test_the_token_is_sent(run, server, monkeypatch):
    run("info", "--token", "secret")
    monkeypatch.setenv("CLIPSERVE_TOKEN", "other")
    run("info")
    sent = [call.metadata.get("authorization") for call in server.seen("GetServerInfo")]
    assert sent == ["Bearer secret", "Bearer other"]


def test_a_token_file_is_sent_and_read_again(run, server, monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    monkeypatch.setenv("CLIPSERVE_TOKEN_FILE", str(file))
    run("info")
    file.write_text("second\n")
    run("info")
    run("info", "--token", "typed")
    monkeypatch.setenv("CLIPSERVE_TOKEN", "other")
    run("--token-file", file, "info")
    sent = [call.metadata.get("authorization") for call in server.seen("GetServerInfo")]
    assert sent == ["Bearer first", "Bearer second", "Bearer typed", "Bearer second"]


def test_two_tokens_are_one_too_many(run, tmp_path):
    file = tmp_path / "token"
    file.write_text("a")
    assert "not both" in run("info", "--token", "b", "--token-file", file, code=2).output
    assert "not both" in run("--token", "b", "info", "--token-file", file, code=2).output


@pytest.mark.parametrize("text", ["", " \n", "two words", "s\u00e9cret-of-mine"])
def test_a_file_without_a_token_is_named(run, tmp_path, text):
    file = tmp_path / "token"
    file.write_text(text)
    found = run("info", "--token-file", file, code=1).output
    assert f"{file} holds no token" in found
    assert "words" not in found
    assert "of-mine" not in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# ours\nweb sha256:{}\n", "lines of the gateway's token file"),
        ("web sha256:{}\nclipserve_s3cret-s3cret\n", "as `clipserve-gateway token --out FILE` writes it"),
        ("sha256:{}", "which a client cannot use"),
        ("web s3cret-s3cret-s3cret methods=read\nops s3cret\n", "without its name, into a file of its own"),
    ],
)
def test_the_gateways_token_file_is_told_from_a_clients(run, tmp_path, text, words):
    file = tmp_path / "token"
    file.write_text(text.format("0b" * 32))
    found = " ".join(run("info", "--token-file", file, code=1).output.split())
    assert words in found
    assert "s3cret" not in found
    assert "0b0b" not in found


@pytest.mark.parametrize("token", ["s3cret with spaces", "s3crét", "s3cret\n"])
def test_a_token_that_cannot_be_sent_is_not_shown(run, token):
    for words in (["info"], ["info", "--json"]):
        found = run(*words, "--token", token, code=2)
        assert "--token" in found.output
        assert "s3cr" not in found.output


def test_tls_is_asked_for_by_any_of_its_options(run, tls_server, authority, tmp_path, monkeypatch):
    ca = authority.write(tmp_path)
    cert, key = authority.issue("client").write(tmp_path)
    server = ("--target", tls_server.address)
    assert "fake" in run("info", *server, "--ca", ca).output
    assert "fake" in run("info", *server, "--tls", "--ca", ca, "--cert", cert, "--key", key).output
    assert "fake" in run("info", *server, "--ca", ca, "--server-name", "localhost").output
    refused = run("info", *server, "--ca", ca, "--server-name", "example.com", code=4).output
    assert "certificate is not for example.com" in refused
    monkeypatch.setenv("CLIPSERVE_CA", ca)
    monkeypatch.setenv("CLIPSERVE_TLS", "1")
    assert "fake" in run("info", *server).output
    assert "--cert and --key go together" in run("info", *server, "--cert", cert, code=2).output


def test_a_token_that_leaves_the_machine_in_the_clear_is_warned_of(run, monkeypatch):
    options = ("--target", "192.0.2.1:1", "--timeout", "0.2")
    assert "Warning" not in run("info", *options, code=4).output
    monkeypatch.setenv("CLIPSERVE_TOKEN", "s3cret")
    found = run("info", *options, code=4).stderr
    assert found.splitlines()[0] == "Warning: the token travels to 192.0.2.1:1 in the clear; use TLS"
    assert "s3cret" not in found
    assert "Warning" not in run("info", *options, "--tls", code=4).output


def test_the_installed_command_runs(server):
    command = [sys.executable, "-c", "from clipserve.tools.cli import main; main()", "info", "--json"]
    environment = os.environ | {"CLIPSERVE_TARGET": server.address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["default_model"] == "fake"


def test_without_its_extra_the_command_says_what_to_install():
    code = "import sys; sys.modules['rich'] = None; from clipserve.tools.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: the command needs rich; install it with: pip install 'clipserve[cli]'\n"


SCHEMA = {"n": "int", "x": "double", "b": "bool", "t": "timestamp", "s": "string", "l": "string_list"}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], None),
        (["n=5"], Eq("n", 5)),
        (["n != 5"], Not(Eq("n", 5))),
        (["x>=2"], Range("x", gte=2.0)),
        (["x<.5", "n>1"], And((Range("x", lt=0.5), Range("n", gt=1)))),
        (["b=yes"], Eq("b", True)),
        (["b=False"], Eq("b", False)),
        (["s=a=b, c"], Eq("s", "a=b, c")),
        (["s="], Eq("s", "")),
        (["l=tag"], Eq("l", "tag")),
        (["s<=m"], Range("s", lte="m")),
    ],
)
def test_conditions_are_read_by_the_schema(conditions, expected):
    assert parse_where(conditions, SCHEMA) == expected


def test_moments_without_a_zone_are_utc():
    [low] = parse_where(["t>=2024-05-01"], SCHEMA).bounds().values()
    assert low.isoformat() == "2024-05-01T00:00:00+00:00"
    [low] = parse_where(["t<2024-05-01T12:00:00+02:00"], SCHEMA).bounds().values()
    assert low.utcoffset().total_seconds() == 7200
    assert (
        parse_where(["t=2024-05-01T12:00:00Z"], SCHEMA).message()
        == (
            F("t")
            == low.replace(tzinfo=None).replace(tzinfo=parse_where(["t=2024-05-01"], SCHEMA).value.tzinfo)
        ).message()
    )


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ("nonsense", "is no condition"),
        ("=5", "is no condition"),
        ("y=5", "has no field 'y'; it has n, x"),
        ("n=five", "is no value for field 'n', which is of type int"),
        ("b=maybe", "true or false"),
        ("t=someday", "for example 2024-05-01"),
        ("b>true", "has no order"),
        ("l<a", "has no order"),
    ],
)
def test_conditions_that_cannot_be_say_why(condition, text):
    with pytest.raises(click.BadParameter, match=re.escape(text)):
        parse_where([condition], SCHEMA)


def test_info_tells_which_model_answers_where_none_is_named(run):
    words = run("info").stdout
    assert "fake (default)" in words
    assert "calls that name no model are answered by fake; the server's CLIPSERVE_DEFAULT_MODEL" in words


def test_info_tells_that_the_default_model_is_not_there():
    model = ModelInfo(ModelRef("other", "0" * 64, 4), True, "Fake-4", "", 4, 8, 1.0, None, "fp32")
    found = ServerInfo("1", (model,), "fake", Limits(*range(1, 12)))
    words = which_default(found)
    assert "the default model, fake, is not there" in words
    assert "CLIPSERVE_DEFAULT_MODEL" in words


@pytest.mark.parametrize("models", [(), (False,)])
def test_info_of_a_server_without_a_ready_model_says_to_try_again(run, monkeypatch, models):
    ref = ModelRef("other", "0" * 64, 4)
    found = tuple(ModelInfo(ref, ready, "Fake-4", "", 4, 8, 1.0, None, "fp32") for ready in models)
    info = ServerInfo("1", found, "", Limits(*range(1, 12)))
    monkeypatch.setattr(Client, "info", lambda self: info)
    assert "no model is ready yet" in run("info", code=4).stderr
    result = run("info", "--json", code=4)
    assert len(json.loads(result.stdout)["models"]) == len(models)
    assert json.loads(result.stderr)["error"]["code"] == "UNAVAILABLE"
