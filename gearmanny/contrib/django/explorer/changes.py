"""Changes of jobs that somebody asks for: retry, cancel, discard. Each has an entry in the log of
the admin site."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import connections, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import InvalidOption
from gearmanny.records.listing import Listed
from gearmanny.records.states import State


class Change(NamedTuple):
    """Something that can be done to a job."""

    name: str
    label: Promise
    done: str
    """Its entry in the log. In English, as the log is, until it is shown."""
    apply: Callable[[Listed, str], bool]
    """Returns whether it was done to a job. May raise InvalidOption."""
    states: Sequence[State]
    """The states of jobs to which it can be done."""


def _retry(store: Listed, id: str) -> bool:
    return store.revive(id)


def _cancel(store: Listed, id: str) -> bool:
    return store.cancel(id) in (State.CANCELLED, State.RUNNING)


def _discard(store: Listed, id: str) -> bool:
    return bool(store.delete([id]))


CHANGES = {
    change.name: change
    for change in (
        Change("retry", gettext_lazy("Retry"), "Queued again.", _retry, (State.FAILED,)),
        Change(
            *("cancel", gettext_lazy("Cancel"), "Cancelled.", _cancel),
            (State.QUEUED, State.RUNNING),
        ),
        Change(
            *("discard", gettext_lazy("Discard"), "Discarded.", _discard),
            tuple(state for state in State if state is not State.RUNNING),
        ),
    )
}


@contextlib.contextmanager
def _savepoint() -> Iterator[None]:
    """Lets a transaction of the request, if there is one, go on where a key is taken."""
    alias = get_settings().RECORDS.DATABASE
    with contextlib.ExitStack() as stack:
        if connections[alias].in_atomic_block:
            stack.enter_context(transaction.atomic(using=alias))
        yield


def change_jobs(
    store: Listed, change: Change, jobs: Sequence[JobRecord], user: Any
) -> tuple[int, list[str]]:
    """Does something to jobs.

    Args:
        store: of their records.
        change: what.
        jobs: to which.
        user: the primary key of who wants it.

    Returns:
        To how many it was done, and why not to others.
    """
    done, problems = [], []
    for job in jobs:
        try:
            with _savepoint():
                is_done = change.apply(store, str(job.pk))
            if is_done:
                done.append(job)
            else:
                problems.append(
                    gettext("%(job)s: not possible any more, it is %(state)s.")
                    % {"job": job, "state": JobRecord.State(job.state).label}
                )
        except InvalidOption as error:
            problems.append(f"{job}: {error}")
    if done:
        flag = DELETION if change.name == "discard" else CHANGE
        LogEntry.objects.log_actions(user, done, flag, change.done)
    return len(done), problems
