"""gearmanny as a contestant that looks at itself many times a second, by the wall clock.

    profiled.py PORT work N    a worker that leaves after N jobs
    profiled.py PORT call N    N calls, one at a time

Prints how often it was seen doing what.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import contestant

import gearmanny
from gearmanny.client import SimpleClient

INTERVAL = 0.0025
"""Seconds between two looks."""

WAITING, REST = "waiting for the job server: `Poller.wait` and its look", "all the rest"
SHARES = {
    # A function, a module or a folder of gearmanny: the first that fits counts.
    "net/polling.py": WAITING,
    "net/transport.py:wait": WAITING,
    "net/transport.py:_wait": WAITING,
    "net/transport.py:send": "`send`, in the kernel",
    "net/transport.py:send_some": "`send`, in the kernel",
    "net/transport.py:receive": "`recv`, in the kernel",
    "protocol/": "packets and protocol machine",
    "payload/": "JSON",
    "vocabulary/encoders.py": "JSON",
    "": REST,
}

Counts = dict[str, int]


class Profile:
    """Counts what this process does, from `start` to `stop`."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)

    def stop(self) -> Counts:
        """Returns the number of looks at each share."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        package = str(Path(gearmanny.__file__).parent) + "/"
        counts: Counter[str] = Counter()
        for (path, function), looks in self._seen.items():
            place = f"{path.removeprefix(package)}:{function}"
            key = next(each for each in SHARES if f"{place}$".startswith(end_of(each)))
            counts[SHARES[key]] += looks
        return {share: counts[share] for share in SHARES.values()}

    def _look(self, _: int, frame: FrameType | None) -> None:
        if frame is not None:
            self._seen[frame.f_code.co_filename, frame.f_code.co_name] += 1


def end_of(key: str) -> str:
    """Returns what a place begins with that a key names: a function is named to its end."""
    return f"{key}$" if ":" in key else key


def work(port: str, count: int) -> None:
    profile = Profile()

    class Profiled(contestant.CountingWorker):
        limit = count

        def after_job(self) -> bool:
            self.done += 1
            if self.done == 1:
                profile.start()
            if self.done != self.limit:
                return True
            print(json.dumps(profile.stop()), flush=True)
            return False

    class Bench(contestant.Bench):
        work_class = Profiled

    Bench([f"127.0.0.1:{port}"]).start()


def call(port: str, count: int) -> None:
    profile = Profile()
    with SimpleClient([f"127.0.0.1:{port}"]) as client:
        client.bench_add(a=1, b=2)
        profile.start()
        for _ in range(count - 1):
            client.bench_add(a=1, b=2)
        print(json.dumps(profile.stop()))


if __name__ == "__main__":
    port, mode, count = sys.argv[1:]
    {"work": work, "call": call}[mode](port, int(count))
