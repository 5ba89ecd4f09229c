"""What is registered for the functions of a worker: each runs a callback, or a `task_*` method."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from functools import partial
from types import GeneratorType
from typing import Any, Protocol

from gearmanny.net.forks import end_as_a_program, this_process
from gearmanny.tasks.spec import TaskSpec
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker, Job
from gearmanny.working.hooks import Hook, HookStack, SyncToAsync
from gearmanny.working.loop import loops

Callback = Callable[[Any, Any], Any]
"""Called with the `GearmanWorker` and the `GearmanJob`; returns the result."""

current_job: ContextVar[Job | None] = ContextVar("gearmanny_job", default=None)
"""The job that runs here: in this thread, or this coroutine, and what was started from it."""


class Owner(Protocol):
    """The worker whose callbacks are run."""

    send_tracebacks: bool
    send_exceptions: bool
    hooks: Sequence[Hook]
    sync_to_async: SyncToAsync | None
    only_job: Job | None
    """The job that runs, for threads of its task that do not know `current_job`."""

    @property
    def timeout_grace(self) -> float | None: ...


class CallbackRunner:
    """What is registered for a function: runs its callback inside the worker's hooks."""

    def __init__(self, worker: Owner, callback: Callback) -> None:
        self.owner = type(worker).__name__
        self._worker = worker
        self._callback = callback

    @property
    def send_tracebacks(self) -> bool:
        return self._worker.send_tracebacks

    @property
    def send_exceptions(self) -> bool:
        return self._worker.send_exceptions

    def __call__(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        worker = self._worker
        token = current_job.set(job)
        worker.only_job = job
        try:
            if not worker.hooks:
                return self._callback(gearman_worker, job)
            with HookStack(worker.hooks, job, partial(_run_in_event_loop, gearman_worker)):
                return self._callback(gearman_worker, job)
        finally:
            worker.only_job = None
            current_job.reset(token)


def _run_in_event_loop(worker: GearmanWorker, coroutine: Coroutine[Any, Any, Any]) -> Any:
    from gearmanny.working.eventloop import event_loop_of  # noqa: PLC0415  imports asyncio

    return event_loop_of(worker).run(coroutine)


class TaskRunner(CallbackRunner):
    """Runs a `task_*` method: checks the arguments first, streams a generator."""

    def __init__(self, worker: Owner, task: TaskSpec) -> None:
        super().__init__(worker, self._run)
        self._task = task
        self._method = getattr(worker, task.method)

    def _run(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        forks = this_process.forks
        try:
            return self._result(gearman_worker, job)
        finally:
            # Within hooks and time limits, which are the parent's alone.
            if this_process.forks != forks:
                end_as_a_program()

    def _result(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        result = self._method(**self._task.check_arguments(job.data))
        if not isinstance(result, GeneratorType):
            return result
        # Whole at the end, too: half of the world's clients drop WORK_DATA.
        items = []
        with contextlib.closing(result):
            for item in result:
                gearman_worker.send_job_data(job, item)
                items.append(item)
        return self._task.whole(items)


class AttemptRunner(TaskRunner):
    """Runs a task that has a time limit, or is tried again when it fails."""

    def __call__(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        return loops[gearman_worker].attempts.retrying(
            partial(super().__call__, gearman_worker, job),
            self._task.options,
            gearman_worker.connection_to_handler_map[job.connection],
            job,
        )

    def _run(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        run = partial(super()._run, gearman_worker, job)
        timeout = self._task.options.limit
        if timeout is None:
            return run()
        return loops[gearman_worker].attempts.limited(
            run,
            timeout,
            self._worker.timeout_grace,
            gearman_worker.connection_to_handler_map[job.connection],
            job,
        )
