"""Tasks of Django's, one for each thing that may happen to them."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from gearmanny.contrib.django.compat import task_finished, task_started

try:
    from django.tasks import task
except ImportError:  # before Django 6.0
    from django_tasks import task


class Plain:
    """Not a task."""

    enqueue = None


def undecorated() -> None:
    """Not a task either."""


@task
def echo(*args: Any, **kwargs: Any) -> Any:
    return [args, kwargs]


@task
async def echo_later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@task
def fail() -> None:
    raise ValueError("no luck")


@task
def leave() -> None:
    sys.exit("on my way out")


@task
def cancel() -> None:
    raise asyncio.CancelledError("gone")


@task
def interrupt() -> None:
    raise KeyboardInterrupt


@task
def refuse() -> Any:
    return object()


@task
def not_a_number() -> float:
    return float("nan")


@task
def die_at_first(path: str) -> str:
    if not os.path.exists(path):
        with open(path, "w"):
            pass
        os._exit(3)
    return "alive"


@task(takes_context=True)
def look_around(context: Any, value: Any) -> Any:
    result = context.task_result
    return [result.id, context.attempt, result.args, len(result.worker_ids), str(result.status)]


@task(queue_name="mail", priority=7)
def write(name: str) -> str:
    from django.contrib.auth.models import Group  # noqa: PLC0415

    Group.objects.create(name=name)
    return name


@task
def write_first(name: str) -> str:
    from django.contrib.auth.models import Group  # noqa: PLC0415

    return Group.objects.get(name=name).name


def note(signal: str, task_result: Any) -> None:
    """Appends what a receiver sees to a file."""
    path = os.environ.get("TEST_SIGNALS")
    if path is not None:
        error = sys.exc_info()[0]
        name = error.__name__ if error else "-"
        task_result.refresh()  # what has been written by then
        with open(path, "a") as file:
            file.write(f"{signal} {task_result.status} {len(task_result.worker_ids)} {name}\n")


def note_start(sender: Any, task_result: Any, **kwargs: Any) -> None:
    note(f"started:{sender.__name__}", task_result)


def note_end(sender: Any, task_result: Any, **kwargs: Any) -> None:
    note(f"finished:{sender.__name__}", task_result)
    raise RuntimeError("a receiver that fails harms nobody")


task_started.connect(note_start)
task_finished.connect(note_end)
