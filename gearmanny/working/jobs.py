"""The life of a job, from its assignment to its answer.

It reads from top to bottom: `JobRunner.run` makes the job and decodes its
arguments, and calls `on_job_execute` of the `GearmanWorker`. That is gearman3's,
or overridden; it calls the callback of the function: `runners.py` runs a plain
task, and `coroutines.py` begins an `async def` one, both with attempts, hooks, a
time limit, and the method itself. gearman3 hands the result to
`on_job_complete`, or the exception to `on_job_exception`, which send the answer
to `handler.py`. `Answers.end` is the end of every job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial

from gearmanny.errors import RejectJob
from gearmanny.net.forks import end_as_a_program, this_process
from gearmanny.payload.encoding import decode
from gearmanny.payload.headers import NO_HEADERS, decode_headers
from gearmanny.payload.masking import MASK, masked
from gearmanny.protocol.worker import Assigned
from gearmanny.records.ids import parse_unique
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.working.answers import about
from gearmanny.working.attempts import describe
from gearmanny.working.claiming import UNRECORDED
from gearmanny.working.handler import Handler
from gearmanny.working.limited import limits_of
from gearmanny.working.runners import HandedOver

logger = logging.getLogger("gearmanny.worker")


_RECORDED = b"j:"
"""The beginning of the unique ids of jobs that may have a record."""


class JobRunner:
    """Runs the jobs of a `GearmanWorker`, one at a time."""

    def __init__(self, gearman_worker: GearmanWorker, mask: Sequence[str] = MASK) -> None:
        """
        Args:
            gearman_worker: the worker.
            mask: names of arguments whose values are not logged.
        """
        self._mask = mask
        self._worker = gearman_worker

    def run(self, handler: Handler, assigned: Assigned, task: str | bytes) -> bool:
        """Runs a job that was assigned, and answers it.

        Args:
            handler: of the connection that it came by, and that its answer is queued on.
            assigned: the job.
            task: the name that its function was registered with.

        Returns:
            Whether it was answered. One that was given back was not, nor one that goes on in the
            event loop.

        Raises:
            BaseException: an exception that stops the worker.
        """
        started = time.perf_counter()
        job = self._new_job(handler, assigned, task)
        context = handler.context
        context.ledger.begin(handler.link, assigned, job)
        error = self._execute(handler, job, assigned)
        try:
            if isinstance(error, HandedOver):
                return False
            return context.answers.end(handler.link, job, started, error)
        finally:
            del error  # or its traceback would refer to this frame, and keep the payload

    def _execute(
        self, handler: Handler, job: GearmanJob, assigned: Assigned
    ) -> BaseException | None:
        """Returns the exception of a job that gearman3 does not answer, if any: that of its
        payload, its result or a hook of a subclass, or a CancelledError that left a loop."""
        context = handler.context
        forks = this_process.forks
        alone = False
        try:
            alone = context.ledger.must_run_alone(job)
            data = assigned.data
            if assigned.unique[:2] == _RECORDED:
                data, has_killed = self._claimed(handler, job, assigned)
                alone = alone or has_killed
            if alone:
                context.finish_coroutines()
            job.data = decode(self._worker.data_encoder, data)
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug(
                    "%s is called with %r",
                    job.task,
                    masked(job.data, self._mask),
                    extra=about("started", job),
                )
            if context.events is not None:
                context.events.started(job)
            self._worker.on_job_execute(job)
            if this_process.forks != forks:
                end_as_a_program()
        except BaseException as error:
            if this_process.forks != forks:
                end_as_a_program()
            if alone and isinstance(error, HandedOver):
                context.finish_coroutines()
            return error
        return None

    def _claimed(self, handler: Handler, job: GearmanJob, assigned: Assigned) -> tuple[bytes, bool]:
        """Returns the arguments of a job, those of its record if it has one, and whether it is to
        run alone, because processes died that ran it, maybe beside others."""
        travelling = parse_unique(assigned.unique)
        if travelling is None:
            return assigned.data, False
        context, link = handler.context, handler.link
        if context.claims is None:
            raise RejectJob(UNRECORDED)
        claim = partial(
            context.claims.claim,
            *(job, travelling, assigned.function.decode(errors="backslashreplace"), link),
            *(context.pause, partial(_has_others, handler), limits_of(self._worker, job)),
        )
        claimed = claim()
        if claimed.deaths and context.has_coroutines():
            # It is not run yet, so it must not be charged if one of them ends this process.
            context.claims.give_back(job)
            context.finish_coroutines()
            claimed = claim()
        describe(
            job,
            traceparent=claimed.trace,
            attempt=claimed.failures + 1,
            headers=decode_headers(claimed.headers),
        )
        arguments = claimed.arguments
        data = arguments if isinstance(arguments, bytes) else arguments.encode()
        return data, claimed.deaths > 0

    def _new_job(self, handler: Handler, assigned: Assigned, task: str | bytes) -> GearmanJob:
        job = self._worker.create_job(
            handler,
            assigned.handle.decode(errors="surrogateescape"),
            task,
            assigned.unique.decode(errors="surrogateescape"),
            None,
        )
        try:
            job.attempt = 1
            job.interrupted = False
            job.function = task
            job.headers = NO_HEADERS
            job.began = time.perf_counter()
        except AttributeError:  # the job_class has no place for one of them
            describe(job, attempt=1, interrupted=False, function=task, headers=NO_HEADERS)
            describe(job, began=time.perf_counter())
        return job


def _has_others(handler: Handler) -> bool:
    """Returns whether jobs that came by a connection are running beside the one that begins."""
    running = handler.context.running_event_loop is not None
    return running and len(handler.link.machine.held) > 1
