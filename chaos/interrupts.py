"""Interrupts at random moments, while other threads call over the same connection.

    python -m chaos.interrupts [SECONDS]

The main thread is interrupted in the middle of its calls, as by Ctrl-C or by a signal handler that
raises. Every call of the other threads has to end, with its own answer or with the loss of the
connection.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import threading
import time

from gearmanny.client import SimpleClient
from gearmanny.errors import JobServerLost
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from tools.processes import working

THREADS = 3
TIMEOUT = 20
"""Seconds for one call: none should need it."""


class Echoing(BaseWorker):
    name = "echoing"

    def task_echo(self, n: int) -> int:
        return n


class Interrupt(BaseException):
    """What the signal handler raises."""


class Others:
    """Threads that call all the time."""

    def __init__(self, client: SimpleClient) -> None:
        self.answered = self.lost = 0
        self.wrong: list[str] = []
        self._client = client
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Ends the threads."""
        self._over.set()
        for thread in self._threads:
            thread.join(3 * TIMEOUT)
            if thread.is_alive():
                self.wrong.append("a call that does not end")

    def _call(self, n: int) -> None:
        while not self._over.is_set():
            try:
                answer = self._client.echoing_echo(n=n)
            except JobServerLost:
                self.lost += 1
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
            else:
                self.answered += 1
                if answer != n:
                    self.wrong.append("the answer of another call")
            n += THREADS


def call_once(client: SimpleClient, after: float) -> None:
    """Makes a call that is interrupted after some seconds, if it takes so long."""
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        client.echoing_echo(n=-1)
    except JobServerLost:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(seconds: float = 60) -> bool:
    """Prints the figures; returns whether every call ended as it should."""

    def interrupt(*_: object) -> None:
        raise Interrupt

    chance, interrupts = random.Random(4730), 0
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with (
            Gearmand() as server,
            working(Echoing([server.host])),
            SimpleClient([server.host], timeout=TIMEOUT) as client,
        ):
            others, end = Others(client), time.monotonic() + seconds
            while time.monotonic() < end:
                try:
                    call_once(client, chance.uniform(2e-5, 2e-3))
                except Interrupt:
                    interrupts += 1
                    with contextlib.suppress(Interrupt):
                        signal.setitimer(signal.ITIMER_REAL, 0)
            others.join()
    finally:
        signal.signal(signal.SIGALRM, previous)
    print(
        f"interrupts: {interrupts:,} in {seconds:g} s; of {THREADS} other threads "
        f"{others.answered:,} calls answered, {others.lost:,} lost, {len(others.wrong)} wrong"
    )
    for text in sorted(set(others.wrong)):
        print(f"  {others.wrong.count(text)} × {text}")
    return not others.wrong and others.answered > 0


if __name__ == "__main__":
    sys.exit(not main(*map(float, sys.argv[1:])))
