"""The worker that runs Django's tasks: one Gearman function for each queue of our backends."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.utils import timezone
from django.utils.module_loading import import_string

from gearmanny.contrib.django.compat import (
    InvalidTask,
    TaskContext,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_backends,
    task_finished,
    task_started,
)
from gearmanny.contrib.django.taskqueues import OnGearman, problem_of_queue
from gearmanny.contrib.django.taskresults import Envelope, change, error_of, find_task, read
from gearmanny.errors import GearmanException
from gearmanny.payload.failures import encode_failure
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker
from gearmanny.working.claims import Claims
from gearmanny.working.handler import Handler, handler_of
from gearmanny.working.interrupts import GivenBack, Skipped, stops_worker


def queues_of_tasks() -> set[str]:
    """Returns the names of the queues of all of our backends."""
    queues: set[str] = set()
    for alias, entry in task_backends.settings.items():
        with contextlib.suppress(Exception):  # reported by E012
            backend = import_string(entry["BACKEND"])
            if isinstance(backend, type) and issubclass(backend, OnGearman):
                queues |= task_backends[alias].queues
    return queues


def worker_of_tasks() -> type[BaseWorker] | None:
    """Returns the worker class of all queues; None where no backend is ours."""
    queues = tuple(queue for queue in sorted(queues_of_tasks()) if not problem_of_queue(queue))
    return _worker_of(queues) if queues else None


@functools.cache
def _worker_of(queues: tuple[str, ...]) -> type[BaseWorker]:
    tasks = {f"task_{queue}": _task_of(queue) for queue in queues}
    home = type(task_backends).__module__
    return type("Tasks", (_Queues,), {"__module__": home, "name": "tasks", **tasks})


class _Queues(BaseWorker):
    """The base of the worker of all queues."""

    send_tracebacks = True


def _task_of(queue: str) -> Callable[..., Any]:
    def run(self: BaseWorker, **envelope: Any) -> Any:
        job = self.job
        return _Run(handler_of(self.gearman_worker, job), job, queue, Envelope(**envelope))()

    run.__doc__ = f"Runs a task of Django's from the queue {queue!r}."
    return run


class _Run:
    """One attempt at a task."""

    def __init__(self, handler: Handler, job: GearmanJob, queue: str, envelope: Envelope) -> None:
        """
        Args:
            handler: that of the job.
            job: the job.
            queue: that it came from.
            envelope: its arguments.

        Raises:
            InvalidTask: it names no task that this worker runs.
        """
        self._handler = handler
        self._job = job
        claims = handler.context.claims
        self._claims: Claims | None = claims if claims and claims.holds(job) else None
        self._result = self._new_result(queue, envelope)
        self._sender = type(task_backends[envelope.backend])

    def _new_result(self, queue: str, envelope: Envelope) -> TaskResult[..., Any]:
        alias = envelope.backend
        backend: Any = task_backends[alias] if alias in task_backends.settings else None
        if not isinstance(backend, OnGearman) or queue not in backend.queues:
            raise InvalidTask(
                f"TASKS[{alias!r}] of this worker has no queue {queue!r} on Gearman. Do caller and "
                "worker have the same settings?"
            )
        if self._claims is None and not _may_be_imported(envelope.task):
            raise InvalidTask(
                f"{envelope.task} is in no app of INSTALLED_APPS. Whoever reaches the job server "
                "names the module, so others are imported only for jobs that have records."
            )
        task = find_task(envelope.task)
        if task is None:
            raise InvalidTask(
                f"There is no task {envelope.task}. Do caller and worker have the same code?"
            )
        if self._claims is not None:
            snapshot = self._claims.look(self._job)
            if snapshot is None:  # it was deleted since
                raise GivenBack
            result = envelope.result(task, queue, snapshot.id)
            read(result, snapshot)
            return result
        result = envelope.result(task, queue, envelope.id)
        now = timezone.now()
        change(
            result,
            status=TaskResultStatus.RUNNING,
            started_at=now,
            last_attempted_at=now,
            worker_ids=[f"{os.uname().nodename}:{os.getpid()}"],
        )
        return result

    def __call__(self) -> Any:
        """Runs the task, and returns what it returns.

        Raises:
            BaseException: the task failed, or the worker is to stop.
        """
        self._tell(task_started)
        try:
            value = self._call()
            payload = self._handler.recorded(value)
        except BaseException as error:
            if stops_worker(error) or isinstance(error, (GivenBack, Skipped)):
                raise
            self._fail(error)
            if isinstance(error, (Exception, SystemExit)):
                raise
            # Others would end the worker.
            raise GearmanException(f"{type(error).__name__} came out of the task.") from error
        if self._claims is not None:
            self._claims.succeed(self._job, payload)
        change(
            self._result,
            _return_value=value,
            finished_at=timezone.now(),
            status=TaskResultStatus.SUCCESSFUL,
        )
        self._tell(task_finished)
        return value

    def _call(self) -> Any:
        result = self._result
        task = result.task
        context: tuple[Any, ...] = (TaskContext(task_result=result),) if task.takes_context else ()
        return normalize_json(task.call(*context, *result.args, **result.kwargs))

    def _fail(self, error: BaseException) -> None:
        """Notes a failure, while its exception is being handled: receivers of the signal look at
        `sys.exc_info()`."""
        failure = encode_failure(error, with_traceback=True).decode()
        if self._claims is not None and not self._claims.is_cancelled(self._job):
            self._claims.fail(self._job, failure)
        self._result.errors.append(error_of(failure))
        change(self._result, finished_at=timezone.now(), status=TaskResultStatus.FAILED)
        self._tell(task_finished)

    def _tell(self, signal: Any) -> None:
        # What is wrong with a receiver is no failure of the task: it is in the log.
        signal.send_robust(self._sender, task_result=self._result)


def _may_be_imported(path: str) -> bool:
    """Returns whether a module may be imported that somebody at the job server has named."""
    module = path.rpartition(".")[0]
    return module in sys.modules or apps.get_containing_app_config(path) is not None
