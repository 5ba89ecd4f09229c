"""The tails of latencies at a fixed rate of calls, beside the field's peers.

    python -m benchmarks.tails PEERS_PYTHON [SHARE]

An open loop (`openloop.py`) of 50, 200 and 1,000 calls a second, on a machine that does nothing
else, and on one of which a core is busy. A contestant that is overloaded falls ever more behind.
SHARE, a fraction of 1, shortens the loops.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.programs import (
    AIO_CONTESTANT,
    CONTESTANT,
    HERE,
    Tell,
    failure,
    job_server,
    run,
    running,
)
from tools.processes import end, redis

RATES = {50: 4.0, 200: 4.0, 1000: 3.0}
"""Calls a second, and the seconds for which they are made."""

OVERLOAD = 1000
"""Milliseconds of median latency beyond which a contestant is not asked for higher rates."""


class Contestant(NamedTuple):
    """A contestant: its program, called as `[*program, PORT, MODE, …]`."""

    program: list[str]
    server: Callable[[], contextlib.AbstractContextManager[str]]


def contestants(peers: str) -> dict[str, Contestant]:
    """Returns the contestants that there are."""
    found = {
        "SimpleClient": Contestant(CONTESTANT, job_server),
        "AioClient": Contestant(AIO_CONTESTANT, job_server),
    }
    if Path(peers).exists():
        for title in ("Celery", "Dramatiq", "Huey", "RQ"):
            program = [peers, str(HERE / "peers.py"), title.lower()]
            found[title] = Contestant(program, redis)
    return found


@contextlib.contextmanager
def busy(core: int | None) -> Iterator[None]:
    """Keeps a core busy until the block ends, unless it is None."""
    if core is None:
        yield
        return
    spin = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", spin], text=True)
    try:
        yield
    finally:
        end(process)


def tails(peers: str, tell: Tell, share: float = 1) -> None:
    """Tells a table of the tails of all contestants."""
    tell(
        "Latency of calls that are due at a fixed rate, whatever became of those before: "
        "p50 / p99 / p99.9 in ms; of fewer than 1,000 calls, the slowest instead of the last. "
        f"Overloaded: behind by more than {OVERLOAD / 1000:g} s at the median. A core was "
        "kept busy by a process that does nothing else."
    )
    tell("")
    tell("| | contestant | " + " | ".join(f"{rate:,} a second" for rate in RATES) + " |")
    tell("|---" * (2 + len(RATES)) + "|")
    failures: dict[str, str] = {}
    cores = {"idle machine": None, "one core busy": min(os.sched_getaffinity(0))}
    for title, core in cores.items():
        for name, contestant in contestants(peers).items():
            if name not in failures:
                try:
                    cells = measure(contestant, core, share)
                except Exception as error:
                    failures[name] = failure(error)
            if name in failures:
                cells = [failures[name], *[""] * (len(RATES) - 1)]
            tell(f"| {title} | {name} | {' | '.join(cells)} |")
    tell("")


def measure(contestant: Contestant, core: int | None, share: float) -> list[str]:
    cells: list[str] = []
    with contestant.server() as port:
        program = [*contestant.program, port]
        with running([[*program, "work", "0"]]), busy(core):
            for rate, seconds in RATES.items():
                if cells and cells[-1] == "overloaded":
                    cells.append("overloaded")
                    continue
                percentiles = run(*program, "open", str(rate), str(share * seconds))
                cells.append(
                    "overloaded"
                    if percentiles[0] > OVERLOAD
                    else " / ".join(f"{each:.1f}" for each in percentiles)
                )
    return cells


if __name__ == "__main__":
    tails(os.path.abspath(sys.argv[1]) if sys.argv[1:] else "", print, *map(float, sys.argv[2:]))
