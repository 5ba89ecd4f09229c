"""Run by the tests of jobs with a record, as a program of its own:
recorded_script.py URL HOST [CONCURRENCY], in one process where that is given"""

from __future__ import annotations

import sys

from gearmanny.records.sql import SQLStore
from gearmanny.workrunner import WorkRunner
from tests.support.recorded import Recorded, Stubborn

if __name__ == "__main__":
    url, host, *concurrency = sys.argv[1:]
    WorkRunner(
        [Recorded, Stubborn],
        hosts=[host],
        records=SQLStore(url),
        concurrency=int(concurrency[0]) if concurrency else None,
    ).start(threads=1 if concurrency else 2)
