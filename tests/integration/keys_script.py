"""A process that submits jobs with keys, as fast as it can, beside another one that submits the
same.

    keys_script.py URL COUNT

It says that it is ready, and begins when its input ends.
"""

from __future__ import annotations

import sys

from gearmanny.client import SimpleClient
from gearmanny.records.sql import SQLStore


def main(url: str, count: str) -> None:
    with SimpleClient(["127.0.0.1:1"], records=SQLStore(url)) as client:
        background = client.using(background=True)
        background.using(unique="warm").submit("warm").cancel()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        for n in range(int(count)):
            one = background.using(unique=f"k{n}").submit("keyed")
            other = background.using(unique_waiting=f"k{n}").submit("waiting")
            sys.stdout.write(f"{one.id} {other.id}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
