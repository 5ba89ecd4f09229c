"""The callbacks that are registered for atomic tasks.

What such a task writes and the end of its job are one transaction: both are there, or neither is.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from types import AsyncGeneratorType
from typing import Any

from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.payload.failures import message_of, type_name
from gearmanny.tasks.spec import TaskSpec
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.working.answers import about
from gearmanny.working.claims import Claims
from gearmanny.working.decisions import Done, GiveBack, Retry, Skip, after_transaction
from gearmanny.working.frames import clear_frames
from gearmanny.working.handler import handler_of
from gearmanny.working.interrupts import GivenBack, Skipped
from gearmanny.working.options import Transaction
from gearmanny.working.runners import AttemptRunner

logger = logging.getLogger("gearmanny.worker")

_NO_TRANSACTION = (
    "{}() is atomic, and its worker has no transaction to run it in. Leave atomic=True out, run "
    "the worker by manage.py runworkers, or give transaction= a function that returns a context "
    "manager: the transaction, which yields the connection of the driver."
)


class AtomicRunner(AttemptRunner):
    """Runs an atomic task: every attempt in a transaction, and again where that was lost."""

    def _attempt(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        claims = handler_of(gearman_worker, job).context.claims
        if claims is None or not claims.holds(job):
            return super()._attempt(gearman_worker, job)
        return self._run_until_settled(claims, gearman_worker, job)

    def _run_until_settled(
        self, claims: Claims, gearman_worker: GearmanWorker, job: GearmanJob
    ) -> Any:
        handler = handler_of(gearman_worker, job)
        context, link = handler.context, handler.link
        arguments, runs = copy.deepcopy(job.data), 0
        while True:
            runs += 1
            try:
                return super()._attempt(gearman_worker, job)
            except Exception as error:
                fate = claims.settle(job, error)
                if fate is None:
                    raise
                settled, is_transient = fate
                decision = after_transaction(
                    settled,
                    runs,
                    is_transient=is_transient,
                    stopping=context.stopping(),
                    cancelled=claims.is_cancelled(job),
                )
                match decision:
                    case Done():
                        return self._result_of_last_run
                    case Skip(reason):
                        raise Skipped(reason) from None
                    case GiveBack():
                        raise GivenBack from None
                    case Retry(delay):
                        _log(job, error, delay)
                        clear_frames(error)
                    case _:
                        raise
            context.pause(delay, link, lambda: context.stopping() or link.has_ended())
            job.data = copy.deepcopy(arguments)

    def _call(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        handler = handler_of(gearman_worker, job)
        context = handler.context
        if context.transaction is None:
            raise InvalidOption(_NO_TRANSACTION.format(self.task.function))
        claims = context.claims
        with context.transaction() as connection:
            result = super()._call(gearman_worker, job)
            if claims is not None and claims.holds(job):
                self._result_of_last_run = result
                claims.finish_within(job, handler.recorded(result), connection)
        if claims is not None:
            claims.committed(job)
        return result

    def _awaited(self, gearman_worker: GearmanWorker, job: GearmanJob, result: Any) -> Any:
        if isinstance(result, AsyncGeneratorType) or hasattr(type(result), "__await__"):
            raise InvalidTask(
                f"{self.task.function}() is atomic and returned a coroutine, which would run "
                "outside of the transaction. Write it without async, or leave atomic=True out."
            )
        return result


def check_transaction(tasks: Iterable[TaskSpec], transaction: Transaction | None) -> None:
    """Checks that there is a transaction for every atomic task.

    Args:
        tasks: those of a worker.
        transaction: makes the transactions.

    Raises:
        InvalidOption: there is an atomic task, and no transaction.
    """
    if transaction is None:
        for task in tasks:
            if task.options.atomic:
                raise InvalidOption(_NO_TRANSACTION.format(task.function))


def atomic_tasks(gearman_worker: GearmanWorker) -> list[TaskSpec]:
    """Returns the atomic tasks that are registered.

    Args:
        gearman_worker: with which they are.
    """
    callbacks = gearman_worker.worker_abilities.values()
    return [callback.task for callback in callbacks if isinstance(callback, AtomicRunner)]


def _log(job: GearmanJob, error: Exception, delay: float) -> None:
    logger.warning(
        "the transaction of %s was lost: %s: %s; running it again in %.1f s",
        job.task,
        type_name(error),
        message_of(error),
        delay,
        extra=about("rerun", job),
    )
