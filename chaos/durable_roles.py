"""The programs that `chaos.durable` kills: a runner with its workers, and callers, in Django.

    python -m chaos.durable_roles migrate|work
    python -m chaos.durable_roles call FIRST END STEP PAUSE PROGRESS
    python -m chaos.durable_roles lock PATH

The environment says where everything is: `CHAOS_DATABASE`, an entry of `DATABASES` in JSON;
`CHAOS_HOST`, the job server; and `CHAOS_NOTES`, a file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time

import django
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connection, transaction

from gearmanny.errors import StoreUnavailable
from gearmanny.worker import BaseWorker, task

WORK = 0.005
"""Seconds that a job takes."""

TABLES = (
    "CREATE TABLE wanted (number INTEGER PRIMARY KEY, at DOUBLE PRECISION)",
    "CREATE TABLE effects (number INTEGER, at DOUBLE PRECISION)",
)
"""Numbers whose transaction was committed, and what atomic tasks wrote."""


class Durable(BaseWorker):
    """Its tasks leave a trace: in the database, or in a file."""

    name = "durable"
    file = -1

    def setUp(self) -> None:
        self.file = os.open(os.environ["CHAOS_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @task(atomic=True)
    def task_write(self, number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO effects VALUES (%s, %s)", [number, time.time()])
        time.sleep(WORK)

    def task_note(self, number: int) -> None:
        time.sleep(WORK)
        os.write(self.file, b"%d %f\n" % (number, time.time()))


class TakenBack(Exception):
    """Rolls a transaction back."""


def is_atomic(number: int) -> bool:
    """Returns whether the task of a number is."""
    return number % 4 < 2


def is_rolled_back(number: int) -> bool:
    """Returns whether the transaction of a number is."""
    return number % 2 == 1


def set_up() -> None:
    """Sets Django up, as a project with records is."""
    settings.configure(
        INSTALLED_APPS=["gearmanny.contrib.django"],
        DATABASES={"default": json.loads(os.environ["CHAOS_DATABASE"])},
        GEARMANNY={"HOSTS": [os.environ["CHAOS_HOST"]], "RECORDS": {"STORE": "database"}},
        USE_TZ=True,
    )
    django.setup()


def migrate() -> None:
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        for statement in TABLES:
            cursor.execute(statement)


def work() -> None:
    from gearmanny.contrib.django.forking import closed_before_forks  # noqa: PLC0415
    from gearmanny.contrib.django.hooks import healthy_connections  # noqa: PLC0415
    from gearmanny.contrib.django.store import get_store, task_transaction  # noqa: PLC0415
    from gearmanny.workrunner import WorkRunner  # noqa: PLC0415

    with closed_before_forks():
        WorkRunner(
            [Durable],
            [os.environ["CHAOS_HOST"]],
            0,
            hooks=[healthy_connections],
            records=get_store(),
            transaction=task_transaction,
            max_crashes=None,
        ).start(threads=2)


def call(first: int, end: int, step: int, pause: float, progress: str) -> None:
    from gearmanny.contrib.django import client  # noqa: PLC0415

    background = client.using(background=True)
    file = os.open(progress, os.O_WRONLY | os.O_CREAT)
    for number in range(first, end, step):
        wait_for_the_database()
        os.pwrite(file, b"%12d" % number, 0)
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO wanted VALUES (%s, %s)", [number, time.time()])
                if is_atomic(number):
                    background.durable_write(number=number)
                else:
                    background.durable_note(number=number)
                if is_rolled_back(number):
                    raise TakenBack
        except TakenBack:
            pass
        except (DatabaseError, InterfaceError, StoreUnavailable):
            pass  # whether it was committed is in the table
        time.sleep(pause)
    os.pwrite(file, b"%12d" % end, 0)


def wait_for_the_database() -> None:
    while True:
        try:
            connection.close_if_unusable_or_obsolete()
            connection.ensure_connection()
            return
        except (DatabaseError, InterfaceError):
            time.sleep(0.05)


def lock(path: str) -> None:
    """Keeps everybody else from writing into a file of SQLite."""
    held = sqlite3.connect(path, isolation_level=None)
    held.execute("PRAGMA busy_timeout = 5000")
    held.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    time.sleep(60)


def main(role: str, *arguments: str) -> None:
    if role == "lock":
        lock(*arguments)
        return
    set_up()
    if role == "migrate":
        migrate()
    elif role == "work":
        work()
    else:
        first, end, step, pause, progress = arguments
        call(int(first), int(end), int(step), float(pause), progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
