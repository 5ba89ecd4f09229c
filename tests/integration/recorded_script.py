"""Run by the tests of jobs with a record, as a program of its own: recorded_script.py URL HOST"""

from __future__ import annotations

import sys

from gearmanny.records.sql import SQLStore
from gearmanny.workrunner import WorkRunner
from tests.support.recorded import Recorded, Stubborn

if __name__ == "__main__":
    url, host = sys.argv[1:]
    WorkRunner([Recorded, Stubborn], hosts=[host], records=SQLStore(url)).start(threads=2)
