"""A caller that is killed while it records a job.

    recording_script.py URL HOST before|after

`before` COMMIT, or right after it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from gearmanny.client import SimpleClient
from gearmanny.records import submitting
from gearmanny.records.sql import SQLStore
from gearmanny.records.values import NewJob, Submitted


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, host: str, moment: str) -> None:
    store = SQLStore(url)
    assert store.id
    if moment == "before":
        insert = submitting._insert

        def insert_and_die(*arguments: Any) -> None:
            insert(*arguments)
            die()

        submitting._insert = insert_and_die  # type: ignore[assignment]
    else:

        class Killed(SQLStore):
            def submit(self, jobs: Sequence[NewJob], connection: Any = None) -> list[Submitted]:
                super().submit(jobs, connection)
                die()
                raise AssertionError

        store = Killed(url)
    with SimpleClient([host], records=store) as client:
        later = client.using(background=True)
        if moment == "after":
            later.called_echo(value=1)
        list(later.map("called_echo", [{"value": 1}, {"value": 2}]))


if __name__ == "__main__":
    main(*sys.argv[1:])
