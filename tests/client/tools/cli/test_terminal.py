"""What the command prints, on a real terminal: nothing that comes from elsewhere reaches it raw."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import clipserve.tools.cli
import pytest
from client.fake_server import FakeServer, Refused
from client.golden_files import golden_entries, write_golden
from client.pictures import png
from clipserve import Client, LabelSet, Point
from clipserve.safe_text import UNSAFE_BUT_LINES, json_text, one_line, safe_lines
from clipserve.tools.cli.terminal import EscapingStream, safe
from clipserve.v1 import common_pb2
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

OSC = "\x1b]52;c;c2VjcmV0\x07"
HOSTILE = f"e{OSC}\x9b31m\u202e\u2028\x7f\r\nError: forged\t[red]\u009d8;;http://e\x9c\U000e0041"
"""A clipboard write, colors by C1, turned text, line ends, markup of rich's, a link by C1, a tag."""
SHOWN = "\\x1b]52;c;c2VjcmV0\\x07"
ESCAPED = re.compile(r"\\(x|u00)1b\]52")
"""The clipboard write, as it is printed: as Python or as JSON writes it."""
FILE = f"a{OSC}\x9b\n\u202e.png"
OURS = re.compile(r"\x1b\[[0-9;?]*[mKAhl]")
"""Sequences that rich writes for colors and progress bars."""
DRIVER = """
import json, sys
from clipserve.tools.cli import main
for number, words in enumerate(json.loads(sys.argv[1])):
    print(f"=== {number} ===", flush=True)
    try:
        main(words, prog_name="clipserve")
    except SystemExit as ended:
        print(f"--- {ended.code} ---", flush=True)
"""


def on_a_terminal(commands: list[list[str]], address: str, answers: str = "") -> list[str]:
    """What each command writes to a terminal, its two streams together."""
    master, slave = pty.openpty()
    env = os.environ | {"CLIPSERVE_TARGET": address, "TERM": "xterm-256color", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps(commands)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env,
        start_new_session=True,
    )
    os.close(slave)
    os.write(master, answers.encode())
    data, end = b"", time.monotonic() + 120
    try:
        while time.monotonic() < end:
            if not select.select([master], [], [], 1.0)[0]:
                continue
            try:
                data += os.read(master, 65536)
            except OSError:
                break  # the last writer has closed it
    finally:
        os.close(master)
        process.kill()
        process.wait()
    parts = re.split(r"=== (\d+) ===\r\n", data.decode())
    return parts[2::2]


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A server whose names, ids, payloads, labels and errors are all hostile, and a folder like that."""
    anything = re.compile(".+", re.DOTALL)
    monkeypatch.setattr("client.fake_points.NAME", anything)
    monkeypatch.setattr("client.fake_labels.NAME", anything)
    server = FakeServer()
    server.state.model = common_pb2.ModelRef(name=HOSTILE, fingerprint=HOSTILE, embed_dim=16)
    folder = tmp_path / f"photos{OSC}\u202e"
    folder.mkdir()
    (folder / FILE).write_bytes(png(1))
    (folder / f"broken{FILE}").write_bytes(b"nothing")
    with Client(server.address) as client:
        client.create_collection(HOSTILE, schema={"path": "string", "root": "string"}, keep_sources=True)
        payload = {"path": HOSTILE, "root": f"/{HOSTILE}"}
        client.upsert(HOSTILE, [Point(f"{i}", text="a dog", payload=payload) for i in range(3)])
        every = server.store.collections[HOSTILE].every
        for point in list(every.values()):
            # An id that an honest server refuses.
            del every[point.id]
            point.id += HOSTILE
            every[point.id] = point
        client.put_alias(f"alias{HOSTILE}", HOSTILE)
        client.put_label_set(HOSTILE, LabelSet((HOSTILE, "cat")))
    yield server, folder
    server.stop()


def commands(folder: Path, out: Path) -> list[list[str]]:
    """Every command, with all that it prints."""
    picture, classes = str(folder / FILE), str(folder.parent / "classes")
    for name in (HOSTILE.replace("/", ""), "cat"):
        (Path(classes) / name).mkdir(parents=True)
        (Path(classes) / name / FILE).write_bytes(png(1))
        (Path(classes) / name / "broken.png").write_bytes(b"nothing")
    parquet = str(out / f"{OSC.replace('/', '')}.parquet")
    golden = golden_entries(model=HOSTILE, fingerprint=HOSTILE, images=[f"{i}{HOSTILE}" for i in range(5)])
    golden["image_vectors"] = golden["image_vectors"][::-1]
    golden_file = str(write_golden(out / f"{OSC.replace('/', '')}.npz", golden))
    return [
        ["info"],
        ["classify", picture, str(folder / f"broken{FILE}"), "--labels", f"{HOSTILE},dog"],
        ["classify", picture, "--label-set", HOSTILE],
        ["classify", str(folder / f"missing{FILE}"), "--labels", "a"],
        ["embed", str(folder), "--text", HOSTILE, "-o", str(out / f"{OSC}.npz")],
        ["search", "a dog", "-c", HOSTILE, "--sheet", str(out / f"{OSC}.html")],
        ["search", "--like", f"0{HOSTILE}", "-c", HOSTILE, "--group-duplicates"],
        ["search", "a dog", "-c", HOSTILE, "--filter", f'field("{OSC}") == 1'],
        ["search", "a dog", "-c", HOSTILE, "--where", f"{HOSTILE}=1"],
        ["search", "a dog", "-c", f"none{HOSTILE}"],
        ["collections"],
        ["collections", "show", HOSTILE],
        ["collections", "aliases"],
        ["collections", "alias", f"second{HOSTILE}", HOSTILE],
        ["collections", "unalias", f"second{HOSTILE}"],
        ["dedupe", "-c", HOSTILE, "--sheet", str(out / f"{OSC}.png")],
        ["labels"],
        ["labels", "get", HOSTILE],
        ["labels", "put", HOSTILE, str(out / "labels.txt")],
        ["labels", "rm", HOSTILE, "-y"],
        ["index", str(folder), "-c", f"new{HOSTILE}"],
        ["index", str(folder), "-c", f"new{HOSTILE}", "--model", "other"],
        ["evaluate", "folder", "--data", classes, "--report", str(out / f"r{OSC}.png")],
        ["verify", "--golden", golden_file],
        ["verify", "--golden", golden_file, "--model", f"none{HOSTILE}"],
        ["export", "-c", HOSTILE, parquet],
        ["import", parquet, "-c", f"imported{HOSTILE}"],
        ["migrate", HOSTILE, "--status"],
        ["migrate", HOSTILE, "--to-model", "other", "-y"],
        ["migrate", HOSTILE, "--end", "-y"],
        ["delete", "-c", HOSTILE, f"0{HOSTILE}", "-y"],
        ["collections", "unalias", f"alias{HOSTILE}"],
        ["collections", "rm", HOSTILE, "-y"],
        ["search", "a dog", "-c", HOSTILE, "--json"],
        [f"no-command{HOSTILE}"],
    ]


def check(text: str, what: object) -> None:
    """Only sequences of ours are in it."""
    left = OURS.sub("", text)
    unsafe = UNSAFE_BUT_LINES.search(left.replace("\r", ""))
    assert unsafe is None, (what, unsafe, left[max(0, unsafe.start() - 60) : unsafe.end() + 20])
    assert "\nError: forged" not in left, (what, "a line that a name made up")


def test_no_command_lets_a_control_character_through(hostile, tmp_path):
    server, folder = hostile
    (tmp_path / "labels.txt").write_text(f"{OSC}\x9b\u202e\nother\n")
    wanted = commands(folder, tmp_path)
    written = on_a_terminal(wanted, server.address)
    assert len(written) == len(wanted), written
    covered = {name.name for name in clipserve.tools.cli.main.commands.values()}
    assert {words[0] for words in wanted} >= covered
    for words, text in zip(wanted, written, strict=True):
        check(text, words)
        assert "Traceback" not in text, (words, text)
        # `delete` prints counts alone; its question is checked below.
        assert ESCAPED.search(OURS.sub("", text)) or words[0] == "delete", (words, text)


def test_errors_and_questions_are_escaped_too(hostile):
    server, _ = hostile
    for method in ("Search", "GetCollection"):
        server.script(method, Refused("INTERNAL", "INTERNAL", HOSTILE, HOSTILE))
    wanted = [
        ["search", "a", "-c", "any"],
        ["collections", "show", "any"],
        ["collections", "rm", HOSTILE],
        ["delete", "-c", HOSTILE, f"0{HOSTILE}"],
        ["labels", "rm", HOSTILE],
    ]
    for words, text in zip(wanted, on_a_terminal(wanted, server.address, "n\nn\nn\n"), strict=True):
        check(text, words)
        assert SHOWN in text, (words, text)


def test_json_has_the_same_values_and_no_control_character(hostile, tmp_path):
    server, _ = hostile
    wanted = [["collections", "--json"], ["search", "a", "-c", HOSTILE, "--json"], ["labels", "--json"]]
    written = on_a_terminal(wanted, server.address)
    for words, text in zip(wanted, written, strict=True):
        check(text, words)
    documents = [json.loads(text[text.index("{") : text.rindex("}") + 1]) for text in written]
    assert documents[0]["collections"][0]["name"] == HOSTILE
    assert documents[1]["hits"][0]["payload"]["path"] == HOSTILE
    assert documents[2]["label_sets"][0]["name"] == HOSTILE


@given(st.text(), st.text())
def test_escaped_text_holds_nothing_unsafe_and_json_means_the_same(text, other):
    assert UNSAFE_BUT_LINES.search(one_line(text)) is None
    assert not set("\n\r\t") & set(one_line(text))
    assert one_line(one_line(text)) == one_line(text)
    assert UNSAFE_BUT_LINES.search(safe_lines(text)) is None
    document = {text: [other, {"a": text}]}
    assert json.loads(json_text(document)) == document
    assert UNSAFE_BUT_LINES.search(json_text(document, 2)) is None


@given(st.text(), st.text(), st.text())
def test_styles_stay_where_they_were(first, second, third):
    text = Text.assemble((first, "red"), second, (third, "bold"))
    made = safe(text)
    assert made.plain == one_line(text.plain)
    styled = {str(span.style): made.plain[span.start : span.end] for span in made.spans}
    expected = {str(span.style): one_line(text.plain[span.start : span.end]) for span in text.spans}
    assert styled == expected


def test_strings_are_no_markup():
    assert safe("[link=http://e]a[/link]").plain == "[link=http://e]a[/link]"
    assert safe("[red]a").spans == []


def test_the_stream_takes_no_bytes_and_has_no_way_around(capsys):
    stream = EscapingStream(sys.stdout)
    with pytest.raises(TypeError):
        stream.write(b"\x1b")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        stream.buffer  # noqa: B018
    stream.write("a\x1bb\n\tc")
    assert capsys.readouterr().out == "a\\x1bb\n\tc"


def test_every_module_of_the_command_prints_through_the_one_place():
    folder = Path(clipserve.tools.cli.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name):
                assert node.id not in ("print", "Console", "Table"), f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Attribute) and node.attr in ("secho", "confirm", "prompt"):
                assert not ast.unparse(node).startswith("click."), f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "click.echo":
                # JSON, which has escapes of its own.
                assert "json_text" in ast.unparse(node), f"{path.name}:{node.lineno}"
