"""Two job servers that crash, on a network that drops, half-closes and delays.

    python -m chaos.network [SECONDS]

Threads that share clients call idempotent tasks all the time. Every call has to be
answered, rightly, sooner or later.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import threading
import time
from typing import Any

from gearmanny.client import SimpleClient
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from tools.processes import working
from tools.proxies import Proxy, proxy

THREADS = 8
TIMEOUT = 60
"""Seconds for one call: none should need it."""
HARM = (Proxy.drop, Proxy.half_close)


class Chaotic(BaseWorker):
    name = "chaotic"

    def task_double(self, n: int) -> int:
        return 2 * n


class Tally:
    """The outcome of all calls."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls = self.answered = self.wrong = 0
        self.failed: list[str] = []
        self.longest = 0.0

    def count(self, client: Any, n: int) -> None:
        """Makes one call."""
        started = time.monotonic()
        error = answer = None
        try:
            answer = client.chaotic_double(n=n)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        with self.lock:
            self.calls += 1
            self.longest = max(self.longest, time.monotonic() - started)
            if error is not None:
                self.failed.append(error)
            elif answer == 2 * n:
                self.answered += 1
            else:
                self.wrong += 1


def run(seconds: float, seed: int = 4730) -> Tally:
    """Calls for so long, under faults; returns what came of it."""
    chance = random.Random(seed)
    tally = Tally()
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        servers: list[Gearmand] = [stack.enter_context(Gearmand()) for _ in range(2)]
        to_clients = [stack.enter_context(proxy(server.port)) for server in servers]
        to_workers = [stack.enter_context(proxy(server.port)) for server in servers]
        workers = [Chaotic([network.host for network in to_workers]) for _ in range(2)]
        stack.enter_context(working(*workers))
        hosts = [network.host for network in to_clients]
        client = stack.enter_context(SimpleClient(hosts, timeout=TIMEOUT).using(idempotent=True))

        def call(thread: int) -> None:
            n = thread
            while not over.is_set():
                tally.count(client, n)
                n += THREADS

        threads = [threading.Thread(target=call, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            over.wait(chance.uniform(0.05, 0.5))
            harmed = chance.choice([*to_clients, *to_workers])
            harmed.delay = chance.choice([0, 0, 0.01])
            chance.choice(HARM)(harmed)
            if chance.random() < 0.1:
                server = chance.choice(servers)
                server.kill()
                server.start()
        over.set()
        for thread in threads:
            thread.join()
    return tally


def main(seconds: float = 120) -> bool:
    """Prints the figures; returns whether nothing was lost."""
    logging.getLogger("gearmanny").setLevel(logging.CRITICAL)  # servers go and come all the time
    tally = run(seconds)
    print(
        f"network: {tally.calls:,} calls in {seconds:g} s, {tally.answered:,} answered, "
        f"{tally.wrong} wrong, {len(tally.failed)} failed; longest {tally.longest:.1f} s"
    )
    for error in sorted(set(tally.failed)):
        print(f"  {tally.failed.count(error)} × {error}")
    return not tally.wrong and not tally.failed


if __name__ == "__main__":
    sys.exit(not main(*map(float, sys.argv[1:])))
