"""A process that runs jobs within limits until none is left, as a worker and a dispatcher do.

    limits_script.py URL LIMITS

LIMITS is JSON: `max_running`, `every` and `key`. Each job counts itself, in the table `counted`,
while it runs. Prints the largest number that it has seen, for each name of a limit.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from gearmanny.records.limits import Limits
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event
from gearmanny.records.values import Claimed, HandedOver, Refusal, Refused
from tests.contract.records.conftest import Database


def main(url: str, limits_text: str) -> None:
    limits = Limits(**json.loads(limits_text))
    database, store = Database(url), SQLStore(url)
    process = store.register(pool="limits")
    most: dict[str, int] = {}
    connection = database.connect()
    mark = "%s" if database.is_postgres else "?"

    def count(name: str, more: int) -> int:
        cursor = connection.execute(
            f"UPDATE counted SET n = n + {mark} WHERE name = {mark} RETURNING n", (more, name)
        )
        (row,) = cursor.fetchall()
        return int(row[0])

    def run(job: HandedOver, claimed: Any) -> None:
        name = limits.limit(job.function, claimed.arguments).name
        most[name] = max(most.get(name, 0), count(name, 1))
        time.sleep(0.002)
        count(name, -1)
        assert store.finish(claimed.claim, Event.SUCCEEDED, "1")

    while any(each.waiting + each.running for each in store.counts()):
        store.release()
        for job in store.hand_over(5, 1000):
            claimed = store.claim(job.id, job.function, job.number, process.id, limits)
            while isinstance(claimed, Refused) and claimed.reason is Refusal.SOON:
                claimed = store.claim(job.id, job.function, job.number, process.id, limits)
            if isinstance(claimed, Claimed):
                run(job, claimed)
    store.leave()
    sys.stdout.write(json.dumps(most))


if __name__ == "__main__":
    main(*sys.argv[1:])
