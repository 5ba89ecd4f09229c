"""Functions whose jobs with a record have limits."""

from __future__ import annotations

from collections.abc import Iterable

from gearmanny.errors import InvalidOption
from gearmanny.payload.rates import seconds_between
from gearmanny.records.contract import Store
from gearmanny.records.limits import Limits, LimitsOfJobs
from gearmanny.tasks.description import described
from gearmanny.tasks.spec import TaskSpec
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.working.exported import Exported

_NO_RECORDS = (
    "{0}() has max_running or rate, and its worker has no store of records, where the jobs would "
    "wait. Give the worker, or the WorkRunner, records= or GEARMANNY['RECORDS']; or leave the "
    "limits out."
)


def limits_of(gearman_worker: GearmanWorker, job: GearmanJob) -> LimitsOfJobs | None:
    """Returns the limits of the function of a job; None where it has none.

    Args:
        gearman_worker: the worker that has the job.
        job: the job.
    """
    callback = gearman_worker.worker_abilities.get(job.task)
    if isinstance(callback, Exported) and callback.limits is not None:
        return callback.limits
    task = _task_of(callback)
    if task is None or not task.options.is_limited:
        return None
    options = task.options
    every = None if options.rate is None else seconds_between(options.rate)
    key = task.signature.parameters.get(options.limit_key or "")
    default = None if key is None else described(key)["default"]
    return Limits(options.max_running, every, options.limit_key, default)


def registered_tasks(gearman_worker: GearmanWorker) -> list[TaskSpec]:
    """Returns the tasks that are registered.

    Args:
        gearman_worker: with which they are.
    """
    found = map(_task_of, gearman_worker.worker_abilities.values())
    return [task for task in found if task is not None]


def _task_of(callback: object) -> TaskSpec | None:
    task = getattr(callback, "task", None)
    return task if isinstance(task, TaskSpec) else None


def check_limits(tasks: Iterable[TaskSpec], records: Store | None) -> None:
    """Checks that limits can be kept.

    Args:
        tasks: those of a worker.
        records: the store; None without records.

    Raises:
        InvalidOption: there is a task with limits, and no store.
    """
    for task in tasks:
        if task.options.is_limited and records is None:
            raise InvalidOption(_NO_RECORDS.format(task.function))
