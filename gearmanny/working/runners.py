"""The callbacks that are registered for plain tasks, and for functions that are no methods."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Coroutine
from contextvars import copy_context
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from gearmanny.net.forks import end_as_a_program, this_process
from gearmanny.tasks.spec import TaskSpec
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.working import strays
from gearmanny.working.attempts import Attempts, describe
from gearmanny.working.exported import Callback, Exported, Owner, current_job
from gearmanny.working.handler import handler_of
from gearmanny.working.hooksteps import HookStack
from gearmanny.working.streams import Stream, settled
from gearmanny.working.timelimits import TimeLimit


class HandedOver(BaseException):
    """Raised by a callback whose job goes on in the event loop, and is answered there."""


class CallbackRunner(Exported):
    """Runs a callback inside the worker's hooks."""

    def __init__(self, worker: Owner, callback: Callback) -> None:
        """
        Args:
            worker: the worker that registers it.
            callback: is called with the `GearmanWorker` and the job.
        """
        super().__init__(worker)
        self._callback = callback

    def __call__(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        self.worker.only_job = job
        strays.job_begins()
        try:
            # Of its own: the next job must not see which variables this one sets.
            return copy_context().run(self._within_hooks, gearman_worker, job)
        finally:
            self.worker.only_job = None
            strays.job_has_ended()

    def _within_hooks(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        current_job.set(job)
        hooks = self.worker.hooks
        if not hooks:
            return self._callback(gearman_worker, job)
        with HookStack(hooks, job, partial(_run_in_event_loop, gearman_worker, job)):
            return self._callback(gearman_worker, job)


def _run_in_event_loop(
    gearman_worker: GearmanWorker, job: GearmanJob, coroutine: Coroutine[Any, Any, Any]
) -> Any:
    return handler_of(gearman_worker, job).context.event_loop().run(coroutine)


def interruptible(worker: Owner, callback: Callback) -> Callback:
    """Returns a callback that calls another one, and is interrupted when its job is cancelled.

    Args:
        worker: the worker that registers it.
        callback: the other one.
    """

    def run(gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        return within_limit(worker, gearman_worker, job, callback)

    return run


def waiting_for_result(callback: Callback) -> Callback:
    """Returns a callback that waits, in the event loop of the worker, for what another one returns
    where that is to be awaited.

    Args:
        callback: the other one.
    """

    def run(gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        result = callback(gearman_worker, job)
        if not hasattr(type(result), "__await__"):
            return result
        return _await_in_event_loop(gearman_worker, job, _awaited(result))

    return run


def _await_in_event_loop(
    gearman_worker: GearmanWorker, job: GearmanJob, coroutine: Coroutine[Any, Any, Any]
) -> Any:
    return handler_of(gearman_worker, job).context.event_loop().run_whole(coroutine)


async def _awaited(result: Any) -> Any:
    while hasattr(type(result), "__await__"):
        result = await result
    return result


def within_limit(
    worker: Owner,
    gearman_worker: GearmanWorker,
    job: GearmanJob,
    callback: Callback,
    timeout: float | None = None,
) -> Any:
    """Returns what a callback returns that is interrupted when its time is over, or when its job
    is cancelled.

    Args:
        worker: the worker that registered it.
        gearman_worker: the worker that has the job.
        job: the job.
        callback: is called with both.
        timeout: seconds that it may take; None for ever.

    Raises:
        BaseException: the exception of the callback, or what interrupted it.
    """
    handler = handler_of(gearman_worker, job)
    context, link, claims = handler.context, handler.link, handler.context.claims
    cancellation: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    is_held = claims is not None and claims.holds(job)
    if timeout is None and not is_held:
        return callback(gearman_worker, job)
    fail = partial(context.answers.fail_at_last, link, job)
    limit = TimeLimit(
        context.watchdog,
        job.task,
        math.inf if timeout is None else timeout,
        worker.timeout_grace,
        fail,
    )
    if claims is not None and is_held:
        cancellation = claims.interruptible(job, limit.cancel)
    try:
        with link.reporting_whole(limit), cancellation:
            return limit.run(partial(callback, gearman_worker, job))
    finally:
        if limit.is_over:
            describe(job, interrupted=True)
            context.interrupted = True


class TaskRunner(CallbackRunner):
    """Runs a plain task: its arguments are checked first, and a generator is streamed."""

    task: TaskSpec

    def __init__(self, worker: Owner, task: TaskSpec) -> None:
        """
        Args:
            worker: the worker that has the task.
            task: the task.
        """
        super().__init__(worker, self._call)
        self.task = task
        self._method = getattr(worker, task.method)

    def _call(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        return within_limit(
            self.worker, gearman_worker, job, self._checked, self.task.options.limit
        )

    def _checked(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        forks = this_process.forks
        try:
            return self._result(gearman_worker, job)
        except TypeError as error:
            refusal = self.task.refusal_of(error, job.data)
            if refusal is None:
                raise
            raise refusal from None
        finally:
            # Within hooks and time limits, which are the parent's alone.
            if this_process.forks != forks:
                end_as_a_program()

    def _result(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        result = self._method(**self.task.check_arguments(job.data))
        if isinstance(result, GeneratorType):
            return self._new_stream(gearman_worker, job).send_all(result)
        return self._awaited(gearman_worker, job, result)

    def _awaited(self, gearman_worker: GearmanWorker, job: GearmanJob, result: Any) -> Any:
        """Returns a result; what is to be awaited, as where a plain decorator wraps an `async def`
        task, is waited for in the event loop."""
        if isinstance(result, AsyncGeneratorType) or hasattr(type(result), "__await__"):
            new_stream = partial(self._new_stream, gearman_worker, job)
            pause = handler_of(gearman_worker, job).context.event_loop().pause
            return _await_in_event_loop(gearman_worker, job, settled(result, new_stream, pause))
        return result

    def _new_stream(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Stream:
        return Stream(self.task, gearman_worker, handler_of(gearman_worker, job).link, job)


class AttemptRunner(TaskRunner):
    """Runs a plain task that is tried again when it fails."""

    def __call__(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        handler = handler_of(gearman_worker, job)
        context, link = handler.context, handler.link
        attempts = Attempts(job, self.task.options, link, context)
        while True:
            try:
                return self._attempt(gearman_worker, job)
            except BaseException as error:
                delay = attempts.delay_after(error)
                if delay is None:
                    raise
            context.pause(delay, link, attempts.are_over)
            attempts.begin_next()

    def _attempt(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        return super().__call__(gearman_worker, job)
