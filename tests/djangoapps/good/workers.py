"""Workers that runworkers finds."""

import asyncio
import os
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from django.db import connection

from gearmanny.worker import BaseWorker


class NamelessBase(BaseWorker):
    def task_pid(self):
        return os.getpid()


class Good(NamelessBase):
    name = "good"

    def task_values(self):
        return {
            "moment": datetime(2026, 11, 23, 12, tzinfo=UTC),
            "price": Decimal("1.50"),
            "id": UUID(int=5),
        }

    async def task_meet(self, others):
        "Waits until so many of these run, and tells how many it saw."
        self.meeting = getattr(self, "meeting", 0) + 1
        self.most = max(getattr(self, "most", 0), self.meeting)
        while self.most < others:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)  # one more turn of all: who is too many shows
        self.meeting -= 1
        return self.most

    def task_query(self):
        before = [connection.connection is None, len(connection.queries)]
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return before

    def task_fail(self):
        raise ValueError("as told")

    def task_wait_for(self, path):
        Path(f"{path}.started").touch()
        while not Path(path).exists():
            threading.Event().wait(0.01)
        return "done"


class Other(NamelessBase):
    name = "other"
