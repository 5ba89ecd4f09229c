"""The worker that runs Django's tasks: one Gearman function for each queue of our backends."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.utils.module_loading import import_string

from gearmanny.contrib.django.compat import task_backends
from gearmanny.contrib.django.declaredtasks import TaskLimits, declared_tasks
from gearmanny.contrib.django.taskattempts import Attempt
from gearmanny.contrib.django.taskqueues import OnGearman, problem_of_queue
from gearmanny.contrib.django.taskresults import Envelope
from gearmanny.net.forks import ending_forks
from gearmanny.schedules.timetable import Planned
from gearmanny.tasks.spec import TaskSpec
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.worker import BaseWorker
from gearmanny.working.exported import Exported, Owner
from gearmanny.working.handler import handler_of
from gearmanny.working.interrupts import Answered
from gearmanny.working.runners import TaskRunner, within_limit


def queues_of_tasks() -> set[str]:
    """Returns the names of the queues of all of our backends."""
    queues: set[str] = set()
    for alias, entry in task_backends.settings.items():
        with contextlib.suppress(Exception):  # reported by E014
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

    @staticmethod
    def _runner_of(spec: TaskSpec) -> Callable[[Owner, TaskSpec], Exported]:
        return QueueRunner

    def _tell_help(self) -> None:
        super()._tell_help()
        for function, runner in self.gearman_worker.worker_abilities.items():
            if isinstance(runner, QueueRunner) and (names := [name for name, _ in runner.plans()]):
                self._help_table[str(function)]["schedules"] = names


def _task_of(queue: str) -> Callable[..., Any]:
    def run(self: BaseWorker, **envelope: Any) -> Any:
        raise AssertionError("QueueRunner runs the tasks of a queue.")

    run.__doc__ = f"Runs a task of Django's from the queue {queue!r}."
    return run


class QueueRunner(TaskRunner):
    """Runs the tasks of a queue."""

    _attempt: Attempt | None = None
    """The one that is being made."""

    def __init__(self, worker: Owner, task: TaskSpec) -> None:
        super().__init__(worker, task)
        self._queue = task.method.removeprefix("task_")
        self._declared = declared_tasks()
        self.limits = TaskLimits(self._declared) or None

    def plans(self) -> Iterator[tuple[str, Planned]]:
        for path, declared in self._declared.items():
            if declared.plan is not None and declared.task.queue_name == self._queue:
                yield path, declared.plan

    def __call__(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        self._attempt = None
        try:
            return super().__call__(gearman_worker, job)
        except BaseException as error:
            if self._attempt is None or error is not self._attempt.failure:
                raise
            raise Answered from None
        finally:
            self._attempt = None

    def _call(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        envelope = Envelope(**self.task.check_arguments(job.data))
        self._attempt = Attempt(handler_of(gearman_worker, job), job, self._queue, envelope)
        return self._attempt.run(partial(self._within_limit, gearman_worker, job))

    def _within_limit(
        self, gearman_worker: GearmanWorker, job: GearmanJob, call: Callable[[], Any]
    ) -> Any:
        task = ending_forks(lambda *_: call())
        return within_limit(self.worker, gearman_worker, job, task)
