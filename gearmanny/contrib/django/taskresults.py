"""A Django task as it travels, and its result as its record has it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings as django_settings
from django.utils import timezone
from django.utils.module_loading import import_string

from gearmanny.contrib.django.compat import (
    Task,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
)
from gearmanny.contrib.django.taskclass import GearmanResult
from gearmanny.errors import WorkerLost
from gearmanny.payload.failures import decode_failure
from gearmanny.records.states import Event, State
from gearmanny.records.values import Snapshot

_STATUS = {
    State.QUEUED: TaskResultStatus.READY,
    State.RUNNING: TaskResultStatus.RUNNING,
    State.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    State.FAILED: TaskResultStatus.FAILED,
    State.CANCELLED: TaskResultStatus.FAILED,
}


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The arguments of the Gearman function of a queue."""

    task: str
    """The dotted path of the task."""
    backend: str
    """The alias of its backend."""
    priority: int
    run_after: str | None
    """In ISO 8601."""
    enqueued_at: float | None
    """In seconds since 1970, by the clock of the caller; None for a job that a schedule made."""
    args: list[Any]
    kwargs: dict[str, Any]
    id: str = ""
    """The id of the result; empty where that is the id of the record."""
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, result: GearmanResult) -> Envelope:
        """Returns a task as it travels.

        Args:
            result: the result of the task, which has been made but not enqueued.
        """
        task, enqueued_at = result.task, result.enqueued_at
        assert enqueued_at is not None
        return cls(
            task=task.module_path,
            backend=task.backend,
            priority=task.priority,
            run_after=task.run_after.isoformat() if task.run_after else None,
            enqueued_at=aware(enqueued_at).timestamp(),
            args=result.args,
            kwargs=result.kwargs,
            id=result.id,
            metadata=result.metadata,
        )

    @classmethod
    def of_schedule(cls, task: Task[..., Any], kwargs: Mapping[str, Any]) -> Envelope:
        """Returns what travels when a task is called by itself.

        Args:
            task: the task.
            kwargs: its arguments.
        """
        return cls(
            task=task.module_path,
            backend=task.backend,
            priority=task.priority,
            run_after=None,
            enqueued_at=None,
            args=[],
            kwargs=normalize_json(kwargs),  # type: ignore[arg-type]
        )

    def arguments(self) -> dict[str, Any]:
        """Returns it as keywords."""
        return asdict(self)

    def without_arguments(self) -> dict[str, Any]:
        """Returns what is left of it where the arguments of jobs are forgotten."""
        return asdict(replace(self, args=[], kwargs={}))

    def restored(self, task: Task[..., Any], queue: str) -> Task[..., Any]:
        """Returns a task with the changes that `using()` made to it. It is not validated: the
        settings may have changed since it was enqueued.

        Args:
            task: as its module has it.
            queue: the name of its queue.
        """
        changes: dict[str, Any] = {
            "priority": self.priority,
            "backend": self.backend,
            "queue_name": queue,
            "run_after": datetime.fromisoformat(self.run_after) if self.run_after else None,
            "metadata": self.metadata,
        }
        restored = object.__new__(type(task))
        for each in fields(task):
            value = changes.get(each.name, getattr(task, each.name))
            object.__setattr__(restored, each.name, value)
        return restored

    def result(
        self, task: Task[..., Any], queue: str, snapshot: Snapshot | None = None
    ) -> GearmanResult:
        """Returns the result of the task before its first attempt.

        Args:
            task: as its module has it.
            queue: the name of its queue.
            snapshot: its record; None without one.
        """
        enqueued = None if snapshot is None else snapshot.created
        if self.enqueued_at is not None:
            enqueued = datetime.fromtimestamp(self.enqueued_at, UTC)
        return new_result(
            self.restored(task, queue),
            self.id if snapshot is None else snapshot.id,
            moment(enqueued),
            self.args,
            self.kwargs,
            self.metadata,
        )


def new_result(
    task: Task[..., Any],
    id: str,
    enqueued_at: datetime | None,
    args: Any,
    kwargs: Any,
    metadata: dict[str, Any],
) -> GearmanResult:
    """Returns the result of a task before its first attempt.

    Args:
        task: the task.
        id: that of the result.
        enqueued_at: when it was enqueued.
        args: the positional arguments.
        kwargs: the others.
        metadata: those that it begins with.

    Raises:
        TypeError: an argument cannot be written as JSON.
        ValueError: an argument is bytes that are not UTF-8.
    """
    return GearmanResult(
        task=task,
        id=id,
        status=TaskResultStatus.READY,
        enqueued_at=enqueued_at,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=list(args),
        kwargs=kwargs,
        backend=task.backend,
        errors=[],
        worker_ids=[],
        metadata=copy.deepcopy(metadata),
    )


def find_task(path: str) -> Task[..., Any] | None:
    """Returns the task at a dotted path; None when there is none.

    Args:
        path: that of its module, and its name there. The module is imported.
    """
    try:
        found = import_string(path)
    except ImportError:
        return None
    return found if isinstance(found, Task) else None


def read(result: TaskResult[..., Any], snapshot: Snapshot) -> None:
    """Brings a result up to date.

    Args:
        result: the result.
        snapshot: its record.
    """
    attempts = [json.loads(line) for line in snapshot.errors]
    workers = [attempt["process"] for attempt in attempts if attempt["process"]]
    if snapshot.state in (State.RUNNING, State.SUCCEEDED) and snapshot.process:
        workers.append(snapshot.process)
    first = attempts[0]["started"] if attempts else None
    change(
        result,
        status=_STATUS[snapshot.state],
        started_at=moment(datetime.fromisoformat(first) if first else snapshot.started),
        finished_at=moment(snapshot.finished),
        last_attempted_at=moment(snapshot.started),
        errors=list(_errors(snapshot, attempts)),
        worker_ids=workers,
    )
    if snapshot.metadata is not None:
        change(result, metadata=json.loads(snapshot.metadata))
    if snapshot.state is State.SUCCEEDED and snapshot.result is not None:
        change(result, _return_value=json.loads(snapshot.result))


def change(result: TaskResult[..., Any], **values: Any) -> None:
    """Sets attributes of a result, which is frozen.

    Args:
        result: the result.
        **values: the new values, by name.
    """
    for name, value in values.items():
        object.__setattr__(result, name, value)


def _errors(snapshot: Snapshot, attempts: list[dict[str, Any]]) -> Iterator[TaskError]:
    for attempt in attempts:
        if attempt["error"] is not None:
            yield error_of(json.dumps(attempt["error"]))
        elif attempt["event"] == Event.OWNER_DIED:
            path = f"{WorkerLost.__module__}.{WorkerLost.__qualname__}"
            yield TaskError(exception_class_path=path, traceback="")
    if not attempts and snapshot.error is not None:  # no worker has tried
        yield error_of(snapshot.error)


def error_of(failure: str) -> TaskError:
    """Returns a failure as Django describes it.

    Args:
        failure: as it travels.
    """
    decoded = decode_failure("", failure.encode())
    if decoded is None or decoded.type is None:
        return TaskError(exception_class_path="builtins.Exception", traceback=failure)
    return TaskError(
        exception_class_path=decoded.type,
        traceback=decoded.traceback or f"{decoded.type}: {decoded.message}\n",
    )


def moment(time: datetime | None) -> datetime | None:
    """Returns a time as this project has times: with a time zone if `USE_TZ` is True.

    Args:
        time: with a time zone.
    """
    if time is None or django_settings.USE_TZ:
        return time
    return timezone.make_naive(time)


def aware(time: datetime) -> datetime:
    """Returns a time with a time zone, that of the settings where it has none."""
    return timezone.make_aware(time) if timezone.is_naive(time) else time
