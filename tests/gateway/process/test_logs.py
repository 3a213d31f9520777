"""Log lines: one JSON object each."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys

from clipserve_gateway.process.logs import JsonFormatter
from clipserve_gateway.process.safe_text import UNSAFE, safe_lines
from hypothesis import given
from hypothesis import strategies as st


def line(**changes: object) -> dict[str, object]:
    record = logging.LogRecord("clipserve.access", logging.INFO, "file.py", 1, "call %d", (7,), None)
    record.__dict__ |= changes
    text = JsonFormatter().format(record)
    assert "\n" not in text
    return json.loads(text)


@given(st.floats(0, 4e9))
def test_times_are_those_of_the_record_to_the_millisecond(created):
    time = dt.datetime.fromisoformat(str(line(created=created)["time"]))
    assert -1e-6 <= created - time.timestamp() < 0.001 + 1e-6


def test_a_line_has_the_logger_the_message_and_all_fields():
    written = line(fields={"request_id": "ä", "code": "OK", "path": sys})
    assert {key: written[key] for key in ("level", "logger", "message", "request_id", "code")} == {
        "level": "INFO",
        "logger": "clipserve.access",
        "message": "call 7",
        "request_id": "ä",
        "code": "OK",
    }
    assert "sys" in str(written["path"])


def test_a_failure_brings_its_traceback_in_the_same_line():
    try:
        raise ValueError("here")
    except ValueError:
        written = line(exc_info=sys.exc_info())
    assert "ValueError: here" in str(written["traceback"])


@given(st.text())
def test_what_callers_send_reaches_the_log_without_control_characters(text):
    record = logging.LogRecord("clipserve.access", logging.INFO, "file.py", 1, "call %s", (text,), None)
    record.fields = {"error": text}
    written = JsonFormatter().format(record)
    assert UNSAFE.search(written) is None
    assert json.loads(written)["error"] == text


def test_lines_for_people_are_escaped():
    assert safe_lines("a\x1b]52;c;eA==\x07\x9b31m\u202e\nb") == "a\\x1b]52;c;eA==\\x07\\x9b31m\\u202e\nb"
