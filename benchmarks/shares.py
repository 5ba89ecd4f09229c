"""Where the time of round trips goes: a profile of the client and of the worker.

python -m benchmarks.shares [ROUND_TRIPS]
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.programs import HERE, LONGEST_RUN, Tell, job_server


def shares(tell: Tell, count: int = 10_000) -> None:
    """Tells a table of both."""
    program = [sys.executable, str(HERE / "profiled.py")]
    with (
        job_server() as port,
        subprocess.Popen(
            [*program, port, "work", str(count)], stdout=subprocess.PIPE, text=True
        ) as worker,
    ):
        try:
            client = subprocess.run(
                [*program, port, "call", str(count)],
                stdout=subprocess.PIPE,
                text=True,
                timeout=LONGEST_RUN,
                check=True,
            )
            found = [json.loads(client.stdout), json.loads(worker.communicate()[0])]
        finally:
            worker.kill()
    tell(
        f"{count:,} round trips, one at a time, by the wall clock: self time of the functions of "
        "both sides."
    )
    tell("")
    tell("| | client | worker |")
    tell("|---" * 3 + "|")
    for share in found[0]:
        cells = " | ".join(f"{each[share] / sum(each.values()):.0%}" for each in found)
        tell(f"| {share} | {cells} |")
    tell("")


if __name__ == "__main__":
    shares(print, *map(int, sys.argv[1:]))
