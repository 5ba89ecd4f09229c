"""Where the time of round trips goes: a profile of the client and of the worker.

    python -m benchmarks.shares [ROUND_TRIPS]

Each looks at itself many times a second, by the wall clock, and counts the function that runs.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import gearmanny

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
        return counts

    def _look(self, _: int, frame: FrameType | None) -> None:
        if frame is not None:
            self._seen[frame.f_code.co_filename, frame.f_code.co_name] += 1


def end_of(key: str) -> str:
    """Returns what a place begins with that a key names: a function is named to its end."""
    return f"{key}$" if ":" in key else key


def work(port: str, count: int) -> None:
    import contestant

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
    from gearmanny.client import SimpleClient

    profile = Profile()
    with SimpleClient([f"127.0.0.1:{port}"]) as client:
        client.bench_add(a=1, b=2)
        profile.start()
        for _ in range(count - 1):
            client.bench_add(a=1, b=2)
        print(json.dumps(profile.stop()))


def shares(tell: Callable[[str], None], count: int = 10_000) -> None:
    """Tells a table of both."""
    from benchmarks.programs import LONGEST_RUN, job_server

    script = [sys.executable, __file__]
    with job_server() as port:
        command = [*script, "work", port, str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            client = subprocess.run(
                [*script, "call", port, str(count)],
                stdout=subprocess.PIPE,
                text=True,
                timeout=LONGEST_RUN,
                check=True,
            )
            found = [json.loads(client.stdout), json.loads(worker.communicate()[0])]
    tell(
        f"A profile of {count:,} round trips by the wall clock, {1 / INTERVAL:.0f} looks a second: "
        "self time of each function."
    )
    tell("")
    tell("| | client | worker |")
    tell("|---" * 3 + "|")
    for title in dict.fromkeys(SHARES.values()):
        cells = " | ".join(f"{each.get(title, 0) / sum(each.values()):.0%}" for each in found)
        tell(f"| {title} | {cells} |")
    tell("")


if __name__ == "__main__":
    if sys.argv[1:2] in (["work"], ["call"]):
        {"work": work, "call": call}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    else:
        shares(print, *map(int, sys.argv[1:]))
