"""The caller's side of a queue, in a process of its own.

    caller.py seen                          reads numbers, and enqueues so many jobs for each
caller.py fill one|loop|bulk TASK N     N jobs: one a transaction, 100, or 100 by one call;
                                        prints the jobs a second, or 0 where there is no such call
caller.py wait SECONDS PAUSE            jobs one at a time, each after a pause of up to PAUSE
                                        seconds; prints the ms until each begins, and until its
                                        result is here
"""

import importlib
import os
import random
import struct
import sys
import time

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from django.db import transaction  # noqa: E402

QUEUE = os.environ["QUEUE"]
MODULE = "workers" if QUEUE == "gearmanny" else "tasks"
queue = importlib.import_module(f"with_{QUEUE}.{MODULE}")

BULK = 100
"""Jobs in one transaction."""


def arguments(task, number):
    return {"a": 1, "b": 2} if task == "add" else {"value": number}


def seen():
    for number in sys.stdin:
        for _ in range(int(number)):
            queue.enqueue("seen")
        print("submitted", flush=True)


def fill(kind, task, count):
    if kind == "bulk" and not hasattr(queue, "enqueue_many"):
        kind, is_told = "loop", False
    else:
        is_told = True
    size = 1 if kind == "one" else BULK

    def enqueue(first, last):
        calls = [arguments(task, number) for number in range(first, last)]
        with transaction.atomic():
            if kind == "bulk":
                queue.enqueue_many(task, calls)
                return
            for call in calls:
                queue.enqueue(task, **call)

    enqueue(0, size)  # connecting is not part of it
    started = time.perf_counter()
    for first in range(size, count, size):
        enqueue(first, min(first + size, count))
    seconds = time.perf_counter() - started
    print((count - size) / seconds if is_told else 0)


def wait(seconds, pause):
    """Jobs at times that do not depend on the beats of who looks for them."""
    notes = os.open(os.path.join(os.environ["QUEUE_FOLDER"], "notes"), os.O_RDONLY | os.O_CREAT)
    assert queue.result(queue.enqueue("add", a=1, b=2)) == 3
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(random.uniform(0.1 * pause, pause))
        began = time.time()
        job = queue.enqueue("add", a=1, b=2)
        assert queue.result(job) == 3
        ended = time.time()
        (started,) = struct.unpack("d", os.pread(notes, 8, os.fstat(notes).st_size - 8))
        print(1000 * (started - began), 1000 * (ended - began))


mode, *rest = sys.argv[1:]
if mode == "seen":
    seen()
elif mode == "fill":
    fill(rest[0], rest[1], int(rest[2]))
else:
    wait(*map(float, rest))
