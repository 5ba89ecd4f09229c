"""Coroutines that enqueue tasks, in a process that is no test: there, tests have one thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import django
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction

django.setup()

from gearmanny.contrib.django.compat import TaskResultDoesNotExist, task_enqueued  # noqa: E402
from tests.djangoapps.tasking import tasks  # noqa: E402


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


async def is_there(result: Any) -> bool:
    try:
        await result.arefresh()
    except TaskResultDoesNotExist:
        return False
    return True


async def beside_a_call_that_lasts() -> None:
    began, go = threading.Event(), threading.Event()

    def last() -> None:
        began.set()
        assert go.wait(30)

    call = asyncio.create_task(sync_to_async(last)())
    await asyncio.to_thread(began.wait)
    result = await asyncio.wait_for(tasks.echo.aenqueue(1), 10)
    while not result.is_finished:
        await asyncio.wait_for(result.arefresh(), 10)
    go.set()
    await call
    assert result.return_value == [[1], {}]
    say("enqueued beside a call that lasts")


async def beside_a_transaction() -> None:
    """The caller is not in it, but that is not known: it waits, and is right all the same."""
    began, go = threading.Event(), threading.Event()

    def last() -> None:
        with transaction.atomic():
            began.set()
            assert go.wait(30)
            transaction.set_rollback(True)

    call = asyncio.create_task(sync_to_async(last)())
    await asyncio.to_thread(began.wait)
    enqueued = asyncio.create_task(tasks.echo.aenqueue(1))
    go.set()
    await call
    assert await is_there(await enqueued)
    say("enqueued beside a transaction of another thread")


async def in_a_transaction() -> None:
    atomic = transaction.atomic()
    await sync_to_async(atomic.__enter__)()
    result = await tasks.echo.aenqueue(1)
    assert await is_there(result)
    await sync_to_async(transaction.set_rollback)(True)
    await sync_to_async(atomic.__exit__)(None, None, None)
    assert not await is_there(result)
    say("rolled back with the transaction of the coroutine")


def around_an_event_loop() -> None:
    with transaction.atomic():
        result = async_to_sync(tasks.echo.aenqueue)(1)
        transaction.set_rollback(True)
    assert not async_to_sync(is_there)(result)
    connections.close_all()
    say("rolled back with the transaction around the event loop")


async def by_a_receiver() -> None:
    others = []

    async def enqueue_another(task_result: Any, **kwargs: Any) -> None:
        if not others:
            others.append(None)
            others.append(await tasks.echo.aenqueue("another"))
            raise RuntimeError("taken back")

    task_enqueued.connect(enqueue_another)
    try:
        await tasks.echo.aenqueue("first")
    except RuntimeError:
        assert not await is_there(others[1])
        say("enqueued by a receiver, in the same transaction")
    finally:
        task_enqueued.disconnect(enqueue_another)


async def many() -> None:
    results = await asyncio.gather(*(tasks.echo.aenqueue(number) for number in range(200)))
    say(f"{len({result.id for result in results})} enqueued at once")


async def main() -> None:
    await beside_a_call_that_lasts()
    await beside_a_transaction()
    await in_a_transaction()
    await sync_to_async(connections.close_all)()
    await asyncio.to_thread(around_an_event_loop)
    await by_a_receiver()
    await many()


asyncio.run(main())
