"""A runner with records, as a program of its own: dispatch_script.py HOST URL.

Its task claims a job in the store, as a process of this runner, and holds it.
"""

from __future__ import annotations

import signal
import sys
from functools import cache

from gearmanny.records.sql import SQLStore
from gearmanny.records.values import Claimed, Process
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner

HOST, URL = sys.argv[1:]


@cache
def registered(runner: str) -> tuple[SQLStore, Process]:
    """The store of this process, apart from that of its runner, and its row in it."""
    store = SQLStore(URL)
    return store, store.register(runner=runner, pool="held")


class Holder(BaseWorker):
    name = "holder"

    def task_hold(self, id: str, number: int) -> None:
        store, process = registered(self.worker_options.runner)
        found = store.look(id)
        assert found is not None
        if found.attempts:  # this job, too, is run again
            return
        assert isinstance(store.claim(id, "f", number, process.id), Claimed)
        while True:  # a signal lets it go on
            signal.pause()


if __name__ == "__main__":
    WorkRunner([Holder], [HOST], 1, records=SQLStore(URL), grace=60).start()
