"""The worker that changes all jobs which match a filter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from gearmanny.contrib.django.explorer.changes import CHANGES, change_jobs
from gearmanny.contrib.django.explorer.joblist import jobs_with
from gearmanny.contrib.django.explorer.site import store_of_project
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import InvalidTask
from gearmanny.records.listing import Wanted
from gearmanny.records.states import State
from gearmanny.records.summaries import Summarized
from gearmanny.worker import BaseWorker
from gearmanny.working.handler import handler_of

MOST = 10_000
"""Jobs that are changed at most."""

_BATCH = 100


class RecordsWorker(BaseWorker):
    """Changes records for the explorer. `runworkers` runs it in projects that have records and the
    admin site."""

    name = "gearmanny_records"

    def task_change(
        self,
        change: str,
        user: Any,
        function: str | None = None,
        state: str | None = None,
        since: str | None = None,
        until: str | None = None,
        text: str = "",
    ) -> dict[str, int]:
        """Retries, cancels or discards all jobs that match, up to 10,000 of them.

        Only a recorded job may do so: anybody who reaches the job server can make others.
        """
        claims = handler_of(self.gearman_worker, self.job).context.claims
        if claims is None or not claims.holds(self.job):
            raise InvalidTask("This function is for recorded jobs, which the explorer makes.")
        store = store_of_project()
        wanted = Wanted(
            function,
            None if state is None else State(state),
            since=None if since is None else datetime.fromisoformat(since),
            until=None if until is None else datetime.fromisoformat(until),
        )
        found = list(islice(_ids(store, wanted, text), MOST))
        done = 0
        for start in range(0, len(found), _BATCH):
            jobs = jobs_with(set(found[start : start + _BATCH]))
            jobs = [job for job in jobs if job.state in CHANGES[change].states]
            done += change_jobs(store, CHANGES[change], jobs, user)[0]
            self.progress(min(start + _BATCH, len(found)), len(found))
        return {"found": len(found), "changed": done}


def _ids(store: Summarized, wanted: Wanted, text: str) -> Iterator[str]:
    if text:
        yield from store.search(wanted, text, get_settings().MASK, MOST).ids
        return
    after: str | None = None
    while True:
        page = store.page(wanted, after, _BATCH)
        yield from page.ids
        after = page.after
        if after is None:
            return
