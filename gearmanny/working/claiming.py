"""A job with a record, as its worker asks for it: may it be run here?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from gearmanny.errors import RejectJob, StoreUnavailable
from gearmanny.payload.backoff import Backoff
from gearmanny.records.contract import Store
from gearmanny.records.ids import Travelling
from gearmanny.records.limits import LimitsOfJobs
from gearmanny.records.values import Claimed, Refusal, Refused
from gearmanny.working.decisions import GiveBack, LookAgain, Refuse, Run, Skip, after_claim
from gearmanny.working.interrupts import GivenBack, Skipped
from gearmanny.working.link import Link
from gearmanny.working.membership import Membership

logger = logging.getLogger("gearmanny.worker")

Pause = Callable[[float, Link, Callable[[], bool]], None]
"""Waits for some seconds, less when the link ends or the worker stops."""

UNRECORDED = (
    "This job has a record, and its worker has no store of records. Give the worker the store that "
    "its caller has, as records= or in GEARMANNY['RECORDS']; workers are to have it before callers."
)
"""The failure of a job with a record at a worker without."""

_STRANGE = (
    "This job has its record in the store {0}, and its worker has the store {1}. Give them the "
    "same database, or functions of other names."
)

_ANY_NUMBER = 2**31 - 1


class Claimant:
    """A worker, as it claims jobs."""

    def __init__(
        self,
        store: Store,
        membership: Membership,
        stopping: Callable[[], bool],
        max_deaths: int | None,
    ) -> None:
        """
        Args:
            store: of the records.
            membership: of this process.
            stopping: returns whether the worker stops.
            max_deaths: how many processes a job may kill; None for any number.
        """
        self._store = store
        self._membership = membership
        self._stopping = stopping
        self._max_deaths = max_deaths
        self._rests = Backoff(first=1.0, longest=5.0)

    def claim(
        self,
        travelling: Travelling,
        function: str,
        link: Link,
        pause: Pause,
        has_others: Callable[[], bool],
        limits: LimitsOfJobs | None = None,
    ) -> Claimed:
        """Claims a job.

        Args:
            travelling: what its unique id says.
            function: its function, as it travels.
            link: the connection that it came by.
            pause: waits for some seconds, less when the link ends or the worker stops.
            has_others: returns whether other jobs that came by that connection are running.
            limits: of the jobs of its function.

        Raises:
            Skipped: it is in other hands.
            RejectJob: it must not be run.
            GivenBack: the store cannot be reached, or the worker stops. Where `link.unwanted` is
                set, the connection is to be closed, so that another worker gets the job.
        """
        began = time.monotonic()
        while True:
            decision = self._decide(travelling, function, limits, began)
            if isinstance(decision, Run):
                self._rests.reset()
                return decision.claimed
            if isinstance(decision, Skip):
                raise Skipped(decision.reason)
            if isinstance(decision, Refuse):
                raise RejectJob(decision.reason)
            unreached = isinstance(decision, GiveBack)
            pause(
                self._rests.next_delay() if isinstance(decision, GiveBack) else decision.delay,
                link,
                partial(self._is_over, link),
            )
            if self._is_over(link):
                raise GivenBack
            # Closing the connection would lose the jobs of coroutines that run, so it is kept.
            if unreached and not has_others():
                link.unwanted = True
                raise GivenBack

    def _is_over(self, link: Link) -> bool:
        return self._stopping() or link.has_ended()

    def _decide(
        self, travelling: Travelling, function: str, limits: LimitsOfJobs | None, began: float
    ) -> Run | Skip | Refuse | LookAgain | GiveBack:
        try:
            if travelling.store != self._store.id:
                return Refuse(_STRANGE.format(travelling.store, self._store.id))
            answer = self._claim(travelling, function, limits)
        except StoreUnavailable as error:
            logger.warning(
                "%s cannot be claimed and goes back to its queue: %s",
                function,
                error,
                extra={"action": "job_unclaimed", "function": function, "id": travelling.id},
            )
            return GiveBack()
        return after_claim(answer, time.monotonic() - began)

    def _claim(
        self, travelling: Travelling, function: str, limits: LimitsOfJobs | None
    ) -> Claimed | Refused:
        process = self._membership.process()
        answer = self._store.claim(travelling.id, function, travelling.number, process, limits)
        if limits is not None:  # what a dead process began is a start, too: a dispatcher takes it
            return answer
        if isinstance(answer, Refused) and answer.reason is Refusal.RUNNING:
            limit = _ANY_NUMBER if self._max_deaths is None else self._max_deaths
            answer = self._store.take_over(answer, process, limit)
            if isinstance(answer, Refused) and answer.reason is Refusal.OVER:
                logger.error(
                    "%s ends here: processes died of it, or it was cancelled; its record says why",
                    function,
                    extra={"action": "job_condemned", "function": function, "id": travelling.id},
                )
        return answer
