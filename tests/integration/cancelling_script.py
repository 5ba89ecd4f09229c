"""A runner with records, as a program of its own: cancelling_script.py URL HOST PROCESSES"""

from __future__ import annotations

import sys

from gearmanny.records.sql import SQLStore
from gearmanny.workrunner import WorkRunner
from tests.support.cancelled import Cancellable, Trying

if __name__ == "__main__":
    url, host, processes = sys.argv[1:]
    WorkRunner(
        [Cancellable, Trying], hosts=[host], records=SQLStore(url), recycle_after_timeout=False
    ).start(threads=int(processes))
