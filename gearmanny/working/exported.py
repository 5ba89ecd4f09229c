"""The callbacks that a `BaseWorker` registers with its `GearmanWorker`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from gearmanny.records.limits import LimitsOfJobs
from gearmanny.schedules.timetable import Planned
from gearmanny.tasks.spec import TaskSpec
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker, Job
from gearmanny.working.hooks import Hook, SyncToAsync

Callback = Callable[[Any, Any], Any]
"""Called with the `GearmanWorker` and the `GearmanJob`; returns the result."""

current_job: ContextVar[Job | None] = ContextVar("gearmanny_job", default=None)
"""The job that runs here: in this thread, or this coroutine, and what was started from it."""


class Loop(Protocol):
    """A running loop of a worker, as those who stop it or watch it see it."""

    turns: int
    """Counts on while no job runs, every few seconds at least."""
    connected: bool
    """Whether a job server has answered over a connection that is still there."""

    def stop(self) -> None:
        """Lets the loop end once the current job is answered."""


class Owner(Protocol):
    """The worker that registered a callback."""

    send_tracebacks: bool
    send_exceptions: bool
    hooks: Sequence[Hook]
    sync_to_async: SyncToAsync | None
    only_job: Job | None
    """The job that runs, for threads of its task that do not know `current_job`."""
    work_loop: Loop | None
    """The loop that its `start()` runs."""
    _help_table: dict[str, Any]
    """The help of each task."""

    @property
    def timeout_grace(self) -> float | None:
        """Seconds that a task may go on after its time limit; None for ever."""


class Exported:
    """A callback that a worker of ours registered. Others are any callables.

    Attributes:
        task: the task that it runs, if that is one.
        limits: of its jobs with a record, where they are not those of the task.
    """

    task: TaskSpec | None = None
    limits: LimitsOfJobs | None = None

    def __init__(self, worker: Owner) -> None:
        """
        Args:
            worker: the worker that registers it.
        """
        self.worker = worker

    def plans(self) -> Iterator[tuple[str, Planned]]:
        """Yields the schedules in code that call it: the name of each, and what it is."""
        if self.task is not None and self.task.options.schedule is not None:
            yield self.task.function, self.task.options.schedule

    def __call__(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
        """Runs a job, as gearman3 calls its callbacks.

        Args:
            gearman_worker: the worker that has the job.
            job: the job.

        Returns:
            The result, which is to be encoded.
        """
        raise NotImplementedError


def owner_of(gearman_worker: GearmanWorker, function: str | bytes) -> Owner | None:
    """Returns the worker that registered a function; None where it was registered directly.

    Args:
        gearman_worker: with which it was registered.
        function: its name.
    """
    callback = gearman_worker.worker_abilities.get(function)
    return callback.worker if isinstance(callback, Exported) else None


def help_of(gearman_worker: GearmanWorker) -> dict[str, Any]:
    """Returns all functions with their help, which is empty for functions that are no tasks.

    Args:
        gearman_worker: with which the functions are registered.
    """
    helps: dict[str, Any] = {}
    for owner in owners(gearman_worker):
        helps |= owner._help_table
    names = (
        name if isinstance(name, str) else name.decode(errors="backslashreplace")
        for name in gearman_worker.worker_abilities
    )
    return {name: helps.get(name, {}) for name in names}


def owners(gearman_worker: GearmanWorker) -> Iterator[Owner]:
    """Yields the workers that share a `GearmanWorker`, once for each function that they export.

    Args:
        gearman_worker: with which their functions are registered.
    """
    for callback in list(gearman_worker.worker_abilities.values()):
        if isinstance(callback, Exported):
            yield callback.worker
