"""Tasks of Django's, one for each thing that may happen to them."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gearmanny.contrib.django.compat import task_finished, task_started
from gearmanny.contrib.django.store import get_store

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


@task(takes_context=True)
def fail_at_first(context: Any, times: int) -> Any:
    """Fails so many times, and notes each of them."""
    failed = context.metadata.setdefault("failed", [])
    if len(failed) < times:
        failed.append(context.attempt)
        raise LookupError(f"attempt {context.attempt}")
    return failed


@task(takes_context=True)
def cancel_itself(context: Any) -> str:
    """Ends before its cancellation arrives."""
    get_store().cancel(context.task_result.id)  # type: ignore[union-attr]
    return "done"


@task
def take_turns(path: str) -> str:
    """The first attempt waits until it may end, the second one does not."""
    began, go = Path(f"{path}.began"), Path(f"{path}.go")
    if began.exists():
        return "second"
    began.touch()
    while not go.exists():
        time.sleep(0.01)
    if go.read_text():
        raise ValueError(go.read_text())
    return "first"


@task(takes_context=True)
def keep_notes(context: Any, notes: Any, end: str = "") -> Any:
    """Saves metadata, and changes them again."""
    context.metadata["saved"] = 1
    context.save_metadata()
    found = context.metadata.copy()
    context.metadata.update(notes if end != "fail" else {"failed": True})
    if end == "invalid":
        context.metadata["bad"] = {1}
    elif end:
        raise ValueError(end)
    return found


@task(takes_context=True)
def keep_notes_for_ever(context: Any) -> None:
    while True:
        context.metadata["count"] = context.metadata.get("count", 0) + 1
        context.save_metadata()


@task(takes_context=True)
async def keep_notes_later(context: Any) -> None:
    context.metadata["saved"] = 1
    await context.asave_metadata()
    context.metadata["saved"] += 1


@task(takes_context=True)
def run_alone(context: Any, folder: str, who: str = "anybody") -> str:
    """Fails where another one runs that has the same value of `who`."""
    path = Path(folder) / who
    path.touch(exist_ok=False)
    time.sleep(0.05)
    path.unlink()
    return who


@task(takes_context=True)
def note_order(context: Any, path: str, name: str, needs: int) -> None:
    """Fails before it has had so many attempts, and notes the last one."""
    if context.attempt < needs:
        raise LookupError(name)
    with open(path, "a") as file:
        file.write(f"{name}\n")


def wait_a_moment(error: BaseException, result: Any) -> float | None:
    """A backoff that shows what it is given."""
    note_text(f"backoff {type(error).__name__} {result.status} {result.attempts}")
    return None if result.attempts == 4 else 0.1


def wait_long(error: BaseException, result: Any) -> float:
    return 3600.0


def break_down(error: BaseException, result: Any) -> float:
    raise RuntimeError("a backoff that fails")


def cancel_meanwhile(error: BaseException, result: Any) -> float:
    get_store().cancel(result.id)  # type: ignore[union-attr]
    return 0.0


def note_text(text: str) -> None:
    path = os.environ.get("TEST_SIGNALS")
    if path is not None:
        with open(path, "a") as file:
            file.write(f"{text}\n")


def note(signal: str, task_result: Any) -> None:
    """Appends what a receiver sees to a file."""
    if "TEST_SIGNALS" in os.environ:
        error = sys.exc_info()[0]
        name = error.__name__ if error else "-"
        task_result.refresh()  # what has been written by then
        note_text(f"{signal} {task_result.status} {len(task_result.worker_ids)} {name}")


def note_start(sender: Any, task_result: Any, **kwargs: Any) -> None:
    note(f"started:{sender.__name__}", task_result)


def note_end(sender: Any, task_result: Any, **kwargs: Any) -> None:
    note(f"finished:{sender.__name__}", task_result)
    raise RuntimeError("a receiver that fails harms nobody")


task_started.connect(note_start)
task_finished.connect(note_end)


def hold_the_end() -> None:
    """Lets a cancellation that was found arrive while the end of a job is being written."""
    from gearmanny.contrib.django.records import DjangoStore  # noqa: PLC0415

    finish, cancelling = DjangoStore.finish, DjangoStore.cancelling
    found, finishing, passed = threading.Event(), threading.Event(), threading.Event()

    def held(store: Any, *args: Any, **kwargs: Any) -> Any:
        finishing.set()
        assert passed.wait(30)
        return finish(store, *args, **kwargs)

    def late(store: Any, processes: Any) -> Any:
        if found.is_set():
            passed.set()
        claims = cancelling(store, processes)
        if claims:
            found.set()
            assert finishing.wait(30)
        return claims

    DjangoStore.finish, DjangoStore.cancelling = held, late  # type: ignore[method-assign]


def interrupt_notes() -> None:
    """Lets a cancellation that was found arrive while metadata are being saved."""
    from gearmanny.records.session import Session  # noqa: PLC0415
    from gearmanny.working.held import Held  # noqa: PLC0415

    row, cancel = Session.row, Held.cancel
    found, saving, sent = threading.Event(), threading.Event(), threading.Event()

    def slow(session: Any, template: str, *values: object) -> Any:
        if "metadata" in template and found.is_set() and not saving.is_set():
            saving.set()
            note_text("in the middle" if sent.wait(30) else "too late")
            note_text("at the end")
        return row(session, template, *values)

    def late(held: Any) -> None:
        found.set()
        assert saving.wait(30)
        cancel(held)
        sent.set()

    Session.row, Held.cancel = slow, late  # type: ignore[method-assign]


if os.environ.get("TEST_INTERRUPT"):
    interrupt_notes()

if os.environ.get("TEST_HOLD"):
    hold_the_end()
