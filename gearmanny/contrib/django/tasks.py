"""A backend of Django's Tasks: they run in the processes of `runworkers`.

The settings name it::

    TASKS = {"default": {"BACKEND": "gearmanny.contrib.django.tasks.GearmanBackend"}}

Each queue is a Gearman function, `tasks_<queue>`.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar, cast

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, connections, transaction
from django.utils.crypto import get_random_string

from gearmanny.contrib.django.clients import client
from gearmanny.contrib.django.compat import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    task_backends,
    task_enqueued,
)
from gearmanny.contrib.django.encoding import DjangoJSONDataEncoder
from gearmanny.contrib.django.sections import NAME
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.store import get_store
from gearmanny.contrib.django.taskclass import GearmanTask, checked_metadata
from gearmanny.contrib.django.taskoptions import BackendOptions, given_to, options_of
from gearmanny.contrib.django.taskqueues import PREFIX, OnGearman, problem_of_queue, queue_of
from gearmanny.contrib.django.taskresults import (
    Envelope,
    aware,
    change,
    find_task,
    moment,
    new_result,
    read,
)
from gearmanny.contrib.django.taskthread import aside
from gearmanny.contrib.django.taskvalues import check_keys
from gearmanny.errors import InvalidOption, StoreUnavailable
from gearmanny.payload.encoding import encode

P = ParamSpec("P")
R = TypeVar("R")


class GearmanBackend(OnGearman, BaseTaskBackend):
    """Enqueues tasks as background jobs, and has their results from the records of these jobs.

    Without records, tasks are enqueued all the same, and no results can be retrieved.
    """

    task_class = GearmanTask
    supports_async_task = True
    supports_priority = True

    @property
    def supports_get_result(self) -> bool:  # type: ignore[override]
        """Whether results can be retrieved: where jobs are recorded."""
        return _has_records()

    @property
    def supports_defer(self) -> bool:  # type: ignore[override]
        """Whether tasks may have `run_after`: where jobs are recorded."""
        return _has_records()

    @property
    def supports_metadata(self) -> bool:
        """Whether tasks and results have metadata: where jobs are recorded."""
        return _has_records()

    def validate_task(self, task: Task[..., Any]) -> None:
        """Checks that this backend can run a task.

        Args:
            task: the task.

        Raises:
            InvalidTask: it cannot.
        """
        super().validate_task(task)
        try:
            options = options_of(given_to(task))
        except InvalidOption as error:
            raise InvalidTask(f"{task.module_path}: {error}") from error
        checked_metadata(metadata := getattr(task, "metadata", {}))
        if (options.needs_records or metadata) and not _has_records():
            raise InvalidTask(
                "Backend does not support attempts, limits, schedules or metadata: they need "
                f"{NAME}['RECORDS']."
            )

    def enqueue(self, task: Task[P, R], args: Any, kwargs: Any) -> TaskResult[P, R]:
        """Enqueues a task: when the transaction of the caller is committed, if there is one.

        Args:
            task: the task.
            args: its positional arguments.
            kwargs: its other arguments.

        Returns:
            Its result, which is READY.

        Raises:
            InvalidTask: the backend, or a worker, could not run it.
            TypeError: an argument cannot be written as JSON.
            ValueError: an argument is NaN, an infinity, or text that is not Unicode, or has keys
                that are not text. It is an `EncodingError` then.
            StoreUnavailable: the database of the records cannot be reached.
            JobServerUnavailable: jobs have no records, and no job server could be reached.
        """
        self.validate_task(task)
        _check_place(task)
        is_recorded = _has_records()
        id = "" if is_recorded else get_random_string(32)
        metadata = getattr(task, "metadata", {})
        result = new_result(task, id, moment(_now()), args, kwargs, metadata)
        check_keys([result.args, result.kwargs])
        function, arguments = PREFIX + task.queue_name, Envelope.of(result).arguments()
        submit = functools.partial(_caller(task).call, function, **arguments)
        if is_recorded:
            with _transaction():
                change(result, id=submit().id)
                task_enqueued.send(type(self), task_result=result)
        else:
            _once_committed(submit, arguments)
            task_enqueued.send(type(self), task_result=result)
        return cast("TaskResult[P, R]", result)

    async def aenqueue(self, task: Task[P, R], args: Any, kwargs: Any) -> TaskResult[P, R]:
        """Enqueues a task, as `enqueue` does. Where no transaction is open, it does not wait for
        what other coroutines do in the thread of Django's ORM.

        Args:
            task: the task.
            args: its positional arguments.
            kwargs: its other arguments.
        """
        return await aside(lambda: self.enqueue(task, args, kwargs))

    async def aget_result(self, result_id: str) -> TaskResult[..., Any]:
        """Returns the result of a task, as `get_result` does.

        Args:
            result_id: its id.
        """
        return await aside(lambda: self.get_result(result_id))

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """Returns the result of a task of this backend.

        Args:
            result_id: its id.

        Raises:
            TaskResultDoesNotExist: there is no record with that id, it was pruned, or there is no
                such task any more.
            NotImplementedError: jobs have no records.
            StoreUnavailable: the database of the records cannot be reached.
        """
        store = get_store()
        if store is None:
            return super().get_result(result_id)
        try:
            snapshot = store.look(result_id)
        except InvalidOption:  # no record has such an id
            raise TaskResultDoesNotExist(result_id) from None
        queue = None if snapshot is None else queue_of(snapshot.function)
        if snapshot is None or queue is None:
            raise TaskResultDoesNotExist(result_id)
        envelope = Envelope(**json.loads(snapshot.arguments))
        task = find_task(envelope.task) if envelope.backend == self.alias else None
        if task is None:
            raise TaskResultDoesNotExist(result_id)
        result = envelope.result(task, queue, snapshot)
        read(result, snapshot)
        return result

    def check(self, **kwargs: Any) -> Iterator[CheckMessage]:  # type: ignore[override]
        """Yields what is wrong with the settings of this backend.

        Args:
            kwargs: what Django says.
        """
        where = f"TASKS[{self.alias!r}]"
        given = task_backends.settings[self.alias].get("QUEUES", ["default"])
        if not given or isinstance(given, str):
            yield Error(
                f"{where}['QUEUES'] must be a list of names, not {given!r}: runworkers has to know "
                "which queues to serve.",
                hint="List the names of the queues. Without the key, there is the queue 'default'.",
                id="gearmanny.E010",
            )
        for queue in () if isinstance(given, str) else sorted(self.queues, key=str):
            problem = problem_of_queue(queue)
            if problem:
                yield Error(f"{where}['QUEUES']: {problem}", id="gearmanny.E011")
        try:
            BackendOptions(self.options).check()
        except InvalidOption as error:
            yield Error(f"{where}['OPTIONS']: {error}", id="gearmanny.E012")
        with contextlib.suppress(ImproperlyConfigured):  # reported by E001
            if _has_records():
                return
            yield Warning(
                f"{where} enqueues tasks, but {NAME}['RECORDS']['STORE'] is None: no results can "
                "be retrieved, run_after is refused, and tasks get lost with their job server.",
                hint=f'Set {NAME} = {{"RECORDS": {{"STORE": "database"}}, …}}, and run migrate.',
                id="gearmanny.W010",
            )


def _has_records() -> bool:
    # Not by the store, which need not be loaded when a task is decorated.
    return get_settings().RECORDS.STORE is not None


def _check_place(task: Task[..., Any]) -> None:
    """Checks that a worker can find a task by its path.

    Raises:
        InvalidTask: it cannot.
    """
    problem = problem_of_queue(task.queue_name)
    if problem:
        raise InvalidTask(problem)
    path = task.module_path
    found = None if task.func.__module__ == "__main__" else find_task(path)
    if found is None or found.func is not task.func:
        raise InvalidTask(
            f"A worker would not find the task {path}: a task must be an attribute of a module "
            "that can be imported, under the name of its function."
        )


def _caller(task: Task[..., Any]) -> Any:
    """Returns the client that makes a background job of a task."""
    due = task.run_after and aware(task.run_after)
    return client.using(
        background=True,
        priority="high" if task.priority > 0 else "low" if task.priority < 0 else "normal",
        at=due if due and due > datetime.now(UTC) else None,
    )


@contextlib.contextmanager
def _transaction() -> Iterator[None]:
    """Runs the block in the transaction of the caller, or else in one of its own: receivers of the
    signal come before every worker, and what one of them raises takes the task back."""
    alias = get_settings().RECORDS.DATABASE
    connection = connections[alias]
    if connection.in_atomic_block:
        yield
        return
    try:
        if connection.get_autocommit():
            with transaction.atomic(using=alias):
                yield
        else:
            yield
    except (OperationalError, InterfaceError) as error:
        connection.close_if_unusable_or_obsolete()
        raise StoreUnavailable(f"The store does not answer: {error}") from error


def _once_committed(submit: Callable[[], Any], arguments: dict[str, Any]) -> None:
    """Submits a job without a record once the transaction of the caller is committed."""
    settings = get_settings()
    alias = settings.RECORDS.DATABASE
    if not connections[alias].in_atomic_block:
        submit()
        return
    encode(DjangoJSONDataEncoder, arguments, settings.MAX_PACKET)  # refuses now what it would then
    transaction.on_commit(submit, using=alias)


def _now() -> datetime:
    """Returns the time in whole milliseconds: SQLite has no more of the times that follow."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
