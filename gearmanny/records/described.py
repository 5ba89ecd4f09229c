"""A record as a command shows it: with secrets masked, as JSON or in lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gearmanny.errors import printable
from gearmanny.payload.failures import decode_failure
from gearmanny.payload.headers import decode_headers
from gearmanny.payload.masking import masked, masked_text
from gearmanny.records.values import Payload, Snapshot

_WIDTH = 15
"""Characters of the names at the beginning of lines."""


class _Failure(NamedTuple):
    title: str
    traceback: str


def described(job: Snapshot, mask: Sequence[str]) -> dict[str, Any]:
    """Returns all that is known of a job, as JSON has it.

    Args:
        job: its record.
        mask: names whose values are masked.
    """
    found = job._asdict()
    for name in ("arguments", "result", "error", "metadata"):
        found[name] = _shown(found[name], mask)
    found["headers"] = masked(dict(decode_headers(job.headers)), mask)
    found["errors"] = [_shown(line, mask) for line in job.errors]
    for name in ("created", "due", "started", "finished"):
        moment = found[name]
        found[name] = None if moment is None else moment.isoformat()
    return found


def lines_about(job: Snapshot, mask: Sequence[str]) -> Iterator[str]:
    """Yields the lines about a job that people read: what there is to say of it, and last its
    attempts and its error. No character in them controls a terminal.

    Args:
        job: its record.
        mask: names whose values are masked.
    """
    found = described(job, mask)
    attempts, error = found.pop("errors"), found.pop("error")
    for name, value in found.items():
        if value is not None and (value or name != "headers"):
            yield _line(name, value if isinstance(value, str) else _text(value))
    for attempt in attempts:
        yield _line("attempt", _attempt(attempt))
    if error is not None:
        title, traceback = _failure(error)
        yield _line("error", title)
        for line in traceback.splitlines():
            yield _line("", line)


def decoded(payload: Payload | None) -> Any:
    """Returns the value of a payload, if it is JSON; the text that it is, or how many bytes, if it
    is not."""
    if payload is None:
        return None
    if isinstance(payload, bytes):
        return f"{len(payload)} bytes"
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return payload


def _shown(payload: Payload | None, mask: Sequence[str]) -> Any:
    found = decoded(payload)
    # A text that is not JSON, or too deep for Python, comes back as it is.
    if isinstance(payload, str) and found is payload:
        return masked_text(payload, mask)
    return masked(found, mask)


def _line(name: str, text: str) -> str:
    return f"{name:{_WIDTH}} {printable(text, len(text))}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _attempt(attempt: Any) -> str:
    if not isinstance(attempt, Mapping):
        return str(attempt)
    error = attempt.get("error")
    words = [attempt.get("started"), attempt.get("event"), error and _failure(error).title]
    return " ".join(str(word) for word in words if word)


def _failure(error: Any) -> _Failure:
    text = error if isinstance(error, str) else _text(error)
    failure = decode_failure("", text.encode(errors="replace"))
    if failure is None:
        return _Failure(text, "")
    title = f"{failure.type}: {failure.message}" if failure.type else failure.message
    return _Failure(title, failure.traceback or "")
