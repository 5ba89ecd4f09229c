"""The page of one job: what it was asked for, what became of it, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from gearmanny.contrib.django.explorer.joblist import COLUMNS, jobs_with
from gearmanny.contrib.django.explorer.values import Failure, failure_shown, shortened
from gearmanny.contrib.django.models import JobNote, JobRecord, WorkerProcess
from gearmanny.records.session import lines_of
from gearmanny.records.states import Event, State

_WORDS: dict[str, Promise] = {
    Event.RETRIED: gettext_lazy("failed, and was queued again"),
    Event.FAILED: gettext_lazy("failed"),
    Event.GIVEN_BACK: gettext_lazy("was given back"),
    Event.OWNER_DIED: gettext_lazy("its process died, and it was queued again"),
    Event.POISONED: gettext_lazy("its process died, as others did before"),
    Event.TAKEN_OVER: gettext_lazy("its process died, and another one took it over"),
    Event.INTERRUPTED: gettext_lazy("was interrupted"),
    Event.SUPERSEDED: gettext_lazy("gave way to a newer job"),
    Event.UNCLAIMED: gettext_lazy("no worker took it"),
}

CHILDREN = 100
"""Jobs that a page shows of those that a job has submitted."""

_ENDED: dict[str, Promise] = {
    State.SUCCEEDED: gettext_lazy("succeeded"),
    State.FAILED: gettext_lazy("failed for good"),
    State.CANCELLED: gettext_lazy("cancelled"),
}


class Step(NamedTuple):
    """Something that happened to a job."""

    when: datetime | None
    what: Promise | str
    process: str = ""
    error: Failure | None = None


class Progress(NamedTuple):
    """How far a job is."""

    numerator: int
    denominator: int

    @property
    def percent(self) -> float:
        """The hundredths that are done."""
        return 100 * self.numerator / self.denominator if self.denominator else 0.0


def progress_of(job: JobRecord) -> Progress | None:
    """Returns how far a job is; None if it has not said so."""
    note = JobNote.objects.filter(id=job.pk, numerator__isnull=False).first()
    return None if note is None else Progress(note.numerator or 0, note.denominator or 0)


class Family(NamedTuple):
    """The jobs that a job comes from, and that come from it."""

    parent: JobRecord | None
    """The job that submitted it; None if there is none, or its record is gone."""
    children: Sequence[JobRecord]
    """The jobs that it submitted, the newest first."""
    has_more: bool
    """Whether there are others."""


def family_of(job: JobRecord) -> Family:
    """Returns the jobs that a job comes from, and that come from it."""
    parents = [] if job.parent is None else jobs_with([job.parent])
    children = JobRecord.objects.filter(parent=job.pk).only(*COLUMNS).order_by("-id")
    found = list(children[: CHILDREN + 1])
    return Family(next(iter(parents), None), found[:CHILDREN], len(found) > CHILDREN)


def steps_of(job: JobRecord) -> list[Step]:
    """Returns what happened to a job, the oldest first."""
    return list(_steps(job, _Processes()))


def _steps(job: JobRecord, processes: _Processes) -> Iterator[Step]:
    yield Step(job.created, gettext_lazy("submitted"))
    attempts = [_decoded(line) for line in lines_of(job.errors)]
    for number, attempt in enumerate(attempts, 1):
        process = processes.name(attempt.get("process"))
        yield Step(_moment(attempt.get("started")), gettext_lazy("began"), process)
        error = attempt.get("error")
        failure = None if error is None else failure_shown(json.dumps(error))
        event = str(attempt.get("event"))
        word = _WORDS.get(event, shortened(event))
        if not (number == len(attempts) and attempt.get("event") == Event.FAILED):
            yield Step(_moment(attempt.get("ended")), word, process, failure)
    if job.state == State.QUEUED and job.due > job.created:
        yield Step(job.due, gettext_lazy("may run from then on"))
    ran_last = not attempts or attempts[-1].get("event") not in (Event.FAILED, Event.POISONED)
    if job.started and ran_last and job.state != State.QUEUED:
        yield Step(job.started, gettext_lazy("began"), processes.name(job.process))
    if job.finished:
        yield Step(job.finished, _ENDED[job.state], error=failure_shown(job.error))


class _Processes:
    """The processes that ran a job, by their names while they live."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, id: Any) -> str:
        if not id:
            return ""
        key = str(id)
        if key not in self._names:
            found = WorkerProcess.objects.filter(id=key).first()
            self._names[key] = key if found is None else str(found)
        return self._names[key]


def _decoded(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {"event": line}
    return found if isinstance(found, dict) else {"event": line}


def _moment(text: Any) -> datetime | None:
    moment = parse_datetime(text) if isinstance(text, str) else None
    if moment is None or django_settings.USE_TZ:
        return moment
    return timezone.make_naive(moment)
