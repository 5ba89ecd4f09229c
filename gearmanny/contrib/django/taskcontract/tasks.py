"""The tasks of the contract, which workers import."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from django.db import connections

from gearmanny.contrib.django.compat import InvalidTask, task, task_finished, task_started

PLAIN: dict[str, Any] = {
    "null": None,
    "large integer": 2**60 + 1,
    "float": 0.1,
    "text": 'é € 😀 "quoted" \\',
    "nested": {"a": [1, {"b": [None, True]}], "": {}},
    "megabyte": "x" * 1_000_000,
}
"""Values of JSON."""

ODD: dict[str, Any] = {
    "not a number": float("nan"),
    "infinity": float("inf"),
    "key that is a number": {1: "one"},
    "null character": "a\0b",
    "lone surrogate": "\ud800",
}
"""Values that Python's JSON writes, and others do not read, or do not read as they were."""


class Refused(Exception):
    """An exception that is not of Python's own."""


@task
def echo(*args: Any, **kwargs: Any) -> Any:
    """Returns its arguments."""
    return [list(args), kwargs]


with contextlib.suppress(InvalidTask):  # the default backend may not support them

    @task
    async def echo_later(*args: Any, **kwargs: Any) -> Any:
        """Returns its arguments."""
        await asyncio.sleep(0)
        return [list(args), kwargs]


@task
def give(name: str) -> Any:
    """Returns one of the values."""
    return {**PLAIN, **ODD}[name]


@task
def give_a_tuple() -> Any:
    """Returns what JSON has in another form."""
    return ({"a": (1, b"two")}, None)


@task
def give_an_object() -> Any:
    """Returns something that is not JSON."""
    return object()


@task
def fail(message: str) -> None:
    """Raises an exception of this module."""
    raise Refused(message)


@task
def leave() -> None:
    """Raises SystemExit."""
    sys.exit("on my way out")


@task
def cancel() -> None:
    """Raises another exception that is not an Exception."""
    raise asyncio.CancelledError("gone")


@task(takes_context=True)
def look_around(context: Any, value: Any) -> Any:
    """Returns what its context says."""
    result = context.task_result
    return [result.id, str(result.status), context.attempt, result.args, len(result.worker_ids)]


@task
def wait_for(path: str) -> None:
    """Ends when a file exists."""
    while not Path(path).exists():
        time.sleep(0.01)


@task
def note(path: str, line: str) -> None:
    """Appends a line to a file."""
    append(path, line)


@task
def names(table: str, alias: str) -> Any:
    """Returns the names in a table of a database."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT name FROM {table}")
        return [name for (name,) in cursor.fetchall()]


@task
def die_at_first(path: str) -> str:
    """Ends its process, unless a file exists, which it makes."""
    if not Path(path).exists():
        append(path, "died")
        os._exit(3)
    return "alive"


@task
def observed(path: str, fails: bool, receivers_fail: bool = False) -> None:
    """Is observed by receivers of signals, which write to a file, and may fail then."""
    if fails:
        raise Refused


def append(path: str, line: str) -> None:
    """Appends a line to a file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _observe(name: str, sender: Any, result: Any) -> None:
    if not result.task.module_path.endswith(".taskcontract.tasks.observed"):
        return
    path, _, *rest = result.args
    error = sys.exc_info()[0]
    kind = "class" if isinstance(sender, type) else "object"
    handled = error.__name__ if error else "no exception"
    append(path, f"{name}, {result.status}, {len(result.worker_ids)}, {kind}, {handled}")
    if rest and rest[0]:
        raise RuntimeError("This receiver fails.")


def _observe_start(sender: Any, task_result: Any, **kwargs: Any) -> None:
    _observe("started", sender, task_result)


def _observe_end(sender: Any, task_result: Any, **kwargs: Any) -> None:
    _observe("finished", sender, task_result)


task_started.connect(_observe_start)
task_finished.connect(_observe_end)
