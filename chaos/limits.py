"""Time limits that strike anywhere in Django's ORM.

    python -m chaos.limits [SECONDS]

Tasks write rows in transactions until their time is over, in processes that go on afterwards. A
transaction has to be kept whole or not at all, and everything that other jobs write is kept.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gearmanny.client import SimpleClient
from gearmanny.errors import TaskError
from gearmanny.testing import Gearmand
from tools.processes import PATIENCE, ROOT, end

_ROWS = 20
"""Of one transaction."""
_THREADS = 4


def _set_up(file: str) -> Any:
    """Sets Django up with a database in a file; returns the model."""
    import django  # noqa: PLC0415  an extra
    from django.conf import settings  # noqa: PLC0415

    settings.configure(
        INSTALLED_APPS=["gearmanny.contrib.django"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": file,
                "OPTIONS": {"timeout": PATIENCE, "transaction_mode": "IMMEDIATE"},
                "CONN_MAX_AGE": None,
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    from django.db import models  # noqa: PLC0415

    class Row(models.Model):  # noqa: DJ008
        job = models.IntegerField()
        whole = models.BooleanField()

        class Meta:
            app_label = "chaos"

    return Row


def _work(host: str, file: str) -> bool:
    row = _set_up(file)
    from django.db import transaction  # noqa: PLC0415

    from gearmanny.contrib.django.settings import get_settings  # noqa: PLC0415
    from gearmanny.worker import BaseWorker, task  # noqa: PLC0415
    from gearmanny.workrunner import WorkRunner  # noqa: PLC0415

    class Limited(BaseWorker):
        name = "limited"

        @task(timeout=0.02)
        def task_write(self, n: int) -> None:
            with transaction.atomic():
                for _ in range(_ROWS):
                    row.objects.create(job=n, whole=True)

        def task_note(self, n: int) -> int:
            row.objects.create(job=n, whole=False)
            return row.objects.filter(job=n).count()

    hooks = get_settings().hooks()
    runner = WorkRunner([Limited], [host], hooks=hooks, recycle_after_timeout=False)
    return runner.start(2)


class _Callers:
    """Threads that call all the time."""

    def __init__(self, host: str, seconds: float) -> None:
        self.noted: list[int] = []
        self.written: list[int] = []
        self.stopped = 0
        self.wrong: Counter[str] = Counter()
        self._host = host
        self._end = time.monotonic() + seconds
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits for the threads."""
        for thread in self._threads:
            thread.join()

    def _call(self, n: int) -> None:
        chance = random.Random(n)
        with SimpleClient([self._host], timeout=PATIENCE) as client:
            while time.monotonic() < self._end:
                n += _THREADS
                try:
                    if chance.random() < 0.5:
                        self.wrong["not noted"] += client.limited_note(n=n) != 1
                        self.noted.append(n)
                    else:
                        client.limited_write(n=n)
                        self.written.append(n)
                except TaskError as error:
                    if error.type.endswith("TaskTimeLimitExceeded"):
                        self.stopped += 1
                    else:
                        self.wrong[f"{error}"[:200]] += 1
                except Exception as error:
                    self.wrong[f"{type(error).__name__}: {error}"[:200]] += 1


def main(*arguments: str) -> bool:
    """Prints the figures; returns whether all transactions are whole and nothing was lost."""
    if arguments[:1] == ("work",):
        sys.exit(not _work(*arguments[1:]))
    seconds = float(arguments[0]) if arguments else 30.0
    with tempfile.TemporaryDirectory() as folder, Gearmand() as server:
        file = str(Path(folder) / "db.sqlite3")
        row = _set_up(file)
        from django.db import connection, models  # noqa: PLC0415

        with connection.schema_editor() as editor:
            editor.create_model(row)
        connection.close()
        runner = subprocess.Popen(
            [sys.executable, "-m", "chaos.limits", "work", server.host, file],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            callers = _Callers(server.host, seconds)
            callers.join()
        finally:
            end(runner)
        counted = row.objects.values("job", "whole").annotate(rows=models.Count("id"))
        rows = {(each["job"], each["whole"]): each["rows"] for each in counted}
        connection.close()
    partial = sum(count != _ROWS for (_, whole), count in rows.items() if whole)
    lost = sum((n, False) not in rows for n in callers.noted)
    lost += sum((n, True) not in rows for n in callers.written)
    print(
        f"limits: {callers.stopped:,} tasks stopped, {len(callers.written):,} written, "
        f"{len(callers.noted):,} others; {partial} transactions in part, {lost} lost, "
        f"{callers.wrong.total()} wrong"
    )
    for text, count in callers.wrong.items():
        if count:
            print(f"  {count} × {text}")
    return not partial and not lost and not callers.wrong.total() and callers.stopped > 0


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
