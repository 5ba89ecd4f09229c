"""Workers of a project that uses its databases and caches in the process that forks."""

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.core.cache import caches
from django.db import connections

from gearmanny.worker import BaseWorker


def ask(alias, number=0):
    "Returns what the database was asked for, and the process of PostgreSQL that answered."
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT %s, pg_backend_pid()", [number])
        return cursor.fetchone()


def use_all():
    for alias in connections:
        ask(alias)
    for alias in caches:
        caches[alias].set("key", "value")


def use_pools():
    for alias in connections:
        ask(alias)
    connections.close_all()


class Recording(logging.Handler):
    """Uses the databases and caches for every record, as handlers of projects do."""

    def emit(self, record):
        use_all()


# The pools of a process serve all of its threads, also those that have ended.
with ThreadPoolExecutor(1) as executor:
    executor.submit(use_pools).result()
for alias in set(connections) - {"threaded"}:
    ask(alias)
for alias in caches:
    caches[alias].set("key", "value")

held = [caches[alias] for alias in caches]
"""As in modules that look their cache up only once."""

logging.getLogger("gearmanny.runner").addHandler(Recording())


class Sharing(BaseWorker):
    name = "sharing"

    def task_pid(self):
        return os.getpid()

    def task_use(self, folder, processes):
        """Asks everything many times while other processes do, and returns wrong answers."""
        numbers = range(os.getpid() * 1000, os.getpid() * 1000 + 100)
        for cache in held:
            cache.set_many({str(number): number for number in numbers})
        backends = [ask(alias)[1] for alias in connections]
        Path(folder, str(os.getpid())).touch()
        while len(list(Path(folder).iterdir())) < processes:
            threading.Event().wait(0.01)
        wrong = []
        for number in numbers:
            answers = [ask(alias, number)[0] for alias in connections]
            answers += [cache.get(str(number)) for cache in (*held, *caches.all())]
            wrong += [answer for answer in answers if answer != number]
        return {"pid": os.getpid(), "backends": backends, "wrong": wrong}
