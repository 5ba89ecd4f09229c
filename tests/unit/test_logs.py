"""Log records as lines of JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from gearmanny.logs import JsonFormatter


def line_of(**about: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "gearmanny.worker", "created": 1.5, **about})
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_line_has_what_every_record_has() -> None:
    about = {"levelname": "INFO", "process": 7, "msg": "%s answered", "args": ("f",)}
    assert line_of(**about) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "INFO",
        "logger": "gearmanny.worker",
        "process": 7,
        "message": "f answered",
    }


def test_a_line_has_what_is_extra_and_a_traceback() -> None:
    try:
        raise ValueError("no\nluck")
    except ValueError:
        line = line_of(action="job_failed", attempt=2, other={1}, exc_info=sys.exc_info())
    assert (line["action"], line["attempt"], line["other"]) == ("job_failed", 2, "{1}")
    assert line["exception"].endswith("ValueError: no\nluck")
