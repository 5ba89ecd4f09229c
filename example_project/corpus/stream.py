"""A survey as lines of JSON, told while it runs.

=============  ==================================  ===============================================
`kind`         other keys                          meaning
=============  ==================================  ===============================================
`"progress"`   `done`, `total`                     so many files are done
`"row"`        `row`                               what is in one file
`"warning"`    `text`                              the worker warns
`"waiting"`    `text`                              nothing came for a while; why
`"done"`       `totals`, `seconds`                 the last line: all went well
`"error"`      `text`                              the last line: it failed
=============  ==================================  ===============================================
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from corpus.errors import BadInput, explain
from corpus.survey import summarise
from gearmanny.client import Data, Progress, Warning, WorkResult
from gearmanny.errors import GearmanException, TaskTimeout

_SILENCE = 2.0
"""Seconds without news after which the visitor is told why: they would think that it hangs."""


def survey_lines(work: WorkResult, timeout: float) -> Iterator[str]:
    """Yields the lines of a survey.

    Args:
        work: the job.
        timeout: seconds for all of it.
    """
    started = time.monotonic()
    try:
        yield from _news(work, timeout)
        totals = summarise(work.get_result())
    except GearmanException as error:
        yield error_line(error)
    else:
        seconds = round(time.monotonic() - started, 2)
        yield _line("done", totals=totals, seconds=seconds)


def error_line(error: BadInput | GearmanException) -> str:
    """Returns the line that tells of a failure."""
    return _line("error", text=explain(error))


def _news(work: WorkResult, timeout: float) -> Iterator[str]:
    """Yields a line for every update until the job ended.

    Raises:
        TaskTimeout: it did not end in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        silent = True
        remaining = max(0.0, deadline - time.monotonic())
        try:
            for update in work.updates(min(_SILENCE, remaining)):
                silent = False
                yield _told(update)
        except TaskTimeout as error:
            if remaining <= _SILENCE:
                raise TaskTimeout(work.function, timeout, error.reason) from None
            if silent:
                yield _line("waiting", text=error.reason)
        else:
            return


def _told(update: Progress | Data | Warning) -> str:
    match update:
        case Progress(done, total):
            return _line("progress", done=done, total=total)
        case Data(row):
            return _line("row", row=row)
        case Warning(text):
            return _line("warning", text=str(text))


def _line(kind: str, **values: Any) -> str:
    return json.dumps({"kind": kind, **values}) + "\n"
