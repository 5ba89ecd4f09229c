"""A process that registers itself, claims jobs, and then holds them until it is ended.

    process_script.py URL [helper] [ID ...]

Prints its id in the store. With `helper`, it forks a child that outlives it.
"""

from __future__ import annotations

import os
import signal
import sys

from gearmanny.records.sql import SQLStore
from gearmanny.records.values import Claimed


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(url: str, *arguments: str) -> None:
    store = SQLStore(url)
    process = store.register(pool="script", runner="r", functions='{"f": {}}', client_id="c")
    ids = list(arguments)
    if "helper" in ids:
        ids.remove("helper")
        child = os.fork()
        if not child:
            signal.pause()
        say(child)
    for id in ids:
        assert isinstance(store.claim(id, "f", 1, process.id), Claimed)
    say(process.id)
    for line in sys.stdin:
        say(store.renew() if line == "renew\n" else "?")


if __name__ == "__main__":
    main(*sys.argv[1:])
