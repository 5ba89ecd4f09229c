"""Durable jobs without Django, in one file: background jobs are recorded in an SQLite file.

gearmanny server                             the job server, in another terminal
python examples/durable.py order [HOST…]     records an order, and hands it to the job server
python examples/durable.py work [HOST…]      runs the workers until Ctrl-C
python examples/durable.py show ID           says what became of an order
"""

import sys

from gearmanny.client import SimpleClient
from gearmanny.records.sql import SQLStore
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner

STORE = SQLStore("sqlite:///orders.db")
"""Callers and workers have the same store."""


class ShopWorker(BaseWorker):
    """Handles orders."""

    name = "shop"

    def task_deliver(self, items: dict[str, int]) -> str:
        """Packs the items of an order"""
        return f"{sum(items.values())} pieces of {', '.join(items)}"


def order(hosts: list[str]) -> None:
    """Records a job. It is kept, whatever happens to the job server and to this process."""
    with SimpleClient(hosts, records=STORE) as client:
        work = client.using(background=True).shop_deliver(items={"tea": 2, "cups": 4})
        print(work.id)


def show(id: str) -> None:
    """Reads a record."""
    record = STORE.look(id)
    print(f"{record.function}: {record.state} {record.result or ''}" if record else "no such order")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or ["help"]
    hosts = arguments or ["localhost:4730"]
    if command == "order":
        order(hosts)
    elif command == "work":
        WorkRunner([ShopWorker], hosts, records=STORE).start(threads=2)
    elif command == "show" and arguments:
        show(arguments[0])
    else:
        sys.exit(__doc__)
