"""A survey as lines of JSON, sent while it runs, and again to whoever comes back to it.

=============  ==================================  ===============================================
`kind`         other keys                          meaning
=============  ==================================  ===============================================
`"progress"`   `done`, `total`                     number of files that are done, and of all
`"waiting"`    `text`                              no worker has begun after a while
`"done"`       `rows`, `totals`, `seconds`         the last line after success
`"error"`      `text`                              the last line after a failure
=============  ==================================  ===============================================
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from corpus.errors import explain
from corpus.survey import summarise
from gearmanny.errors import GearmanException, TaskTimeout

if TYPE_CHECKING:
    from gearmanny.blocking.records import Record

_SILENCE = 2.0
"""Seconds without a worker after which the page says so, so that it does not seem to hang."""


def survey_lines(record: Record, timeout: float) -> Iterator[str]:
    """Yields the lines of a survey.

    Args:
        record: of its job.
        timeout: seconds for which the page follows it.
    """
    try:
        yield from _news(record, timeout)
        rows = record.get_result()
    except GearmanException as error:
        yield _line("error", text=explain(error))
    else:
        assert record.started  # by a worker
        assert record.finished
        seconds = round((record.finished - record.started).total_seconds(), 2)
        yield _line("done", rows=rows, totals=summarise(rows), seconds=seconds)


def _news(record: Record, timeout: float) -> Iterator[str]:
    """Yields a line for each change of the record until the job ends.

    Raises:
        TaskTimeout: it did not end in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        remaining = max(0.0, deadline - time.monotonic())
        try:
            for update in record.updates(min(_SILENCE, remaining)):
                if update.progress:
                    yield _line("progress", done=update.progress.done, total=update.progress.total)
        except TaskTimeout as error:
            if remaining <= _SILENCE:
                raise TaskTimeout(record.function, timeout, error.reason) from None
            if record.state == "queued":
                yield _line("waiting", text="No worker has begun with it yet.")
        else:
            return


def _line(kind: str, **values: Any) -> str:
    return json.dumps({"kind": kind, **values}) + "\n"
