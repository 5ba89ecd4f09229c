"""Django's task, result and context, with more options and with metadata.

The names are those of Django's proposals for retries and for metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

from asgiref.sync import sync_to_async

from gearmanny.contrib.django.compat import (
    TASK_REFRESH_ATTRS,
    InvalidTask,
    Task,
    TaskContext,
    TaskResult,
    normalize_json,
)
from gearmanny.contrib.django.taskoptions import BackoffFunction
from gearmanny.schedules.timetable import Overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class GearmanTask(Task):  # type: ignore[type-arg]
    """A task of a `GearmanBackend`. None stands for what `@task` was not given."""

    max_attempts: int | None = None
    """So often it may fail before it has failed."""
    backoff: float | BackoffFunction | None = None
    """Seconds before the second attempt; or a function of the exception and the result that returns
    the seconds until the next attempt, or None for no more of them."""
    max_running: int | None = None
    """Its jobs that run at a time."""
    rate: str | None = None
    """How often one begins, such as `"10/m"`."""
    limit_key: str | None = None
    """The argument whose values have limits of their own."""
    every: timedelta | None = None
    """The time from one call of it to the next, which nobody makes."""
    cron: str | None = None
    timezone: str | None = None
    args: Mapping[str, Any] | None = field(default=None, hash=False)
    """The arguments of these calls."""
    jitter: float | None = None
    catch_up: bool | None = None
    overlap: Overlap | None = None
    max_late: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)
    """What its next results begin with: facts that are no arguments, as JSON has them."""

    def using(self, *, metadata: dict[str, Any] | None = None, **changes: Any) -> GearmanTask:
        """Returns a task with other values.

        Args:
            metadata: replaces that of the task.
            **changes: what `using()` of every task takes.

        Raises:
            InvalidTask: a value is invalid.
        """
        task: Any = Task.using(self, **changes)
        if metadata is not None:
            task = replace(task, metadata=checked_metadata(metadata))
        return cast("GearmanTask", task)


def checked_metadata(metadata: object) -> dict[str, Any]:
    """Returns metadata as JSON has them, which is a copy.

    Args:
        metadata: a dict.

    Raises:
        InvalidTask: they are not a dict, or not JSON.
    """
    if not isinstance(metadata, dict) or not all(isinstance(key, str) for key in metadata):
        raise InvalidTask("metadata must be a dict whose keys are strings.")
    try:
        checked: Any = normalize_json(metadata)
    except (TypeError, ValueError) as error:
        raise InvalidTask(f"metadata must be JSON: {error}") from error
    return checked  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class GearmanResult(TaskResult):  # type: ignore[misc, type-arg]
    """The result of a task of a `GearmanBackend`."""

    metadata: dict[str, Any] = field(default_factory=dict)
    """What the caller and the task have noted: facts that are no arguments."""

    def refresh(self) -> None:
        """Reads the result again."""
        self._become(self.task.get_backend().get_result(self.id))

    async def arefresh(self) -> None:
        """Reads the result again."""
        self._become(await self.task.get_backend().aget_result(self.id))

    def _become(self, found: TaskResult[..., Any]) -> None:
        for name in (*TASK_REFRESH_ATTRS, "metadata"):
            object.__setattr__(self, name, getattr(found, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class GearmanContext(TaskContext):  # type: ignore[misc, type-arg]
    """What a task that takes its context is given."""

    task_result: GearmanResult
    save: Callable[[], None] = field(repr=False, compare=False)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata, which the task may change. They are saved when it ends, however it does."""
        return self.task_result.metadata

    def save_metadata(self) -> None:
        """Saves the metadata now.

        Raises:
            TypeError: they are not JSON.
            ValueError: likewise.
            NotImplementedError: jobs have no records.
        """
        self.save()

    async def asave_metadata(self) -> None:
        """Saves the metadata now, as `save_metadata` does."""
        await sync_to_async(self.save)()
