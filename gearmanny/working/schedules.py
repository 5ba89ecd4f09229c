"""The schedules that the tasks of a worker have in code."""

from __future__ import annotations

import logging

from gearmanny.errors import EncodingError, InvalidOption, InvalidTask
from gearmanny.payload.encoding import encode
from gearmanny.records.scheduling import NewSchedule
from gearmanny.schedules.timetable import Planned
from gearmanny.tasks.finding import find_tasks
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.working.exported import Exported

logger = logging.getLogger("gearmanny.worker")


def schedules_of(gearman_worker: GearmanWorker) -> list[NewSchedule]:
    """Returns the schedules of the tasks that are registered.

    Args:
        gearman_worker: with which they are.

    Raises:
        InvalidTask: the arguments of one cannot be encoded.
        InvalidOption: the encoder does not make text of them.
    """
    found = []
    for function, callback in gearman_worker.worker_abilities.items():
        for name, plan in callback.plans() if isinstance(callback, Exported) else ():
            arguments = _arguments(gearman_worker, str(function), plan)
            found.append(NewSchedule(name, str(function), arguments, plan.timetable))
    return found


def check_schedules(worker: type, work_class: type[GearmanWorker]) -> None:
    """Checks what can be known of the schedules of a worker before it starts.

    Args:
        worker: its class.
        work_class: whose encoder writes their arguments.

    Raises:
        InvalidTask: the arguments of one cannot be encoded.
        InvalidOption: the encoder does not make text of them.
    """
    for task in find_tasks(worker, work_class):
        if task.options.schedule is not None:
            _arguments(work_class, task.function, task.options.schedule)


def _arguments(
    gearman_worker: GearmanWorker | type[GearmanWorker], function: str, plan: Planned
) -> str:
    encoder = gearman_worker.data_encoder
    if getattr(encoder, "takes_payload", False):
        return ""
    try:
        return encode(encoder, dict(plan.args)).decode()
    except EncodingError as error:
        raise InvalidTask(f"The schedule of {function}() has wrong args: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidOption(
            f"{function}() cannot have a schedule: {encoder.__name__} does not encode arguments as "
            "text."
        ) from error


def warn_without_records(gearman_worker: GearmanWorker) -> None:
    """Logs which schedules do nothing, as the worker has no records.

    Args:
        gearman_worker: with which the tasks are registered.
    """
    names = [schedule.name for schedule in schedules_of(gearman_worker)]
    if names:
        logger.warning(
            "The schedules of %s do nothing here: the worker has no records. Give it records=, or "
            "set GEARMANNY['RECORDS'] in Django.",
            ", ".join(names),
            extra={"action": "schedules_without_records"},
        )


def log_taken(names: list[str]) -> None:
    """Logs that schedules of code were left out.

    Args:
        names: theirs, which somebody has given to other schedules.
    """
    for name in names:
        logger.warning(
            "The schedule of %s() that is in code is left out: somebody has added another one of "
            "that name. Remove that one to use it.",
            name,
            extra={"action": "schedule_left_out", "schedule": name},
        )
