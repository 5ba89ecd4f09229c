"""A survey as lines of JSON, sent while it runs.

=============  ==================================  ===============================================
`kind`         other keys                          meaning
=============  ==================================  ===============================================
`"progress"`   `done`, `total`                     number of files that are done, and of all
`"row"`        `row`                               the contents of one file
`"warning"`    `text`                              a warning of the worker
`"waiting"`    `text`                              why there was no news for a while
`"done"`       `totals`, `seconds`                 the last line after success
`"error"`      `text`                              the last line after a failure
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
"""Seconds without news after which the page says why, so that it does not seem to hang."""


def survey_lines(work: WorkResult, timeout: float) -> Iterator[str]:
    """Yields the lines of a survey.

    Args:
        work: the job.
        timeout: seconds that the survey may take.
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
    """Returns the line that reports a failure."""
    return _line("error", text=explain(error))


def _news(work: WorkResult, timeout: float) -> Iterator[str]:
    """Yields a line for every update until the job ends.

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
