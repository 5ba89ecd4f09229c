"""The tasks, which every queue offers as its own."""

import gc
import os
import struct
import time
from pathlib import Path

from shop.models import Written

FOLDER = Path(os.environ["QUEUE_FOLDER"])
NOTES = os.open(FOLDER / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note():
    """Notes that a task begins: which one it is, does not matter to those who count."""
    os.write(NOTES, struct.pack("d", time.time()))


def add(a, b):
    note()
    return a + b


def write(value):
    """Writes a row. Who calls it says in which transaction."""
    note()
    Written.objects.create(value=value)


def seen():
    """Collects all garbage, tells which process did, and waits, so that each process gets a job."""
    gc.collect()
    (FOLDER / str(os.getpid())).touch()
    while not (FOLDER / "measured").exists():
        time.sleep(0.01)
