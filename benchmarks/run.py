"""Measures gearmanny beside libgearman in C and a bare Python loop, in one run.

    python benchmarks/run.py LIBGEARMAN [REPETITIONS]

LIBGEARMAN is the program built from `libgearman.c`: `make bench` does that. Each
contestant has a gearmand, a worker process and a client process of its own; the
contestants of a row take turns. Only the ratios mean anything on another machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gearmanny.admin import JobServer
from gearmanny.errors import GearmanException

HERE = Path(__file__).parent
LIBGEARMAN = str(Path(sys.argv[1]).resolve())
REPETITIONS = int(sys.argv[2]) if sys.argv[2:] else 5
LONGEST_RUN = 120
"""Seconds after which a run counts as hung."""

PROGRAMS = {
    "C": [LIBGEARMAN],
    "bare": [sys.executable, str(HERE / "bare.py")],
    "gearmanny": [sys.executable, str(HERE / "contestant.py")],
    "gearmanny, prefetch 16": [sys.executable, str(HERE / "contestant.py")],
}
ROWS = [
    ("round trips, one at a time", "roundtrip", 3000, ["C", "bare", "gearmanny"]),
    ("batch of 5,000", "batch", 5000, ["C", "gearmanny", "gearmanny, prefetch 16"]),
    ("batch of 20,000", "batch", 20000, ["C", "gearmanny", "gearmanny, prefetch 16"]),
    ("5,000 background submissions", "background", 5000, ["C", "gearmanny"]),
    ("20,000 background submissions", "background", 20000, ["C", "gearmanny"]),
    (
        "drain of 20,000 background jobs",
        "drain",
        20000,
        ["C", "gearmanny", "gearmanny, prefetch 16"],
    ),
]


@contextlib.contextmanager
def gearmand() -> Iterator[str]:
    """Runs a job server on a free port of loopback; yields the port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    program = shutil.which("gearmand", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        sys.exit("gearmand is missing: apt-get install gearman-job-server")
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-L", "127.0.0.1", "-p", port, "-l", "stderr", "-P", f"{folder}/pid"]
        command += ["-u", "root"] if os.geteuid() == 0 else []
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while True:
                with contextlib.suppress(GearmanException):
                    JobServer(f"127.0.0.1:{port}").version()
                    break
                time.sleep(0.01)
            yield port
        finally:
            server.terminate()
            server.wait()


def measure(name: str, mode: str, count: int) -> float:
    """Returns the jobs a second of one contestant in one run."""
    program = PROGRAMS[name]
    work = ["work", "0"] if name != "bare" else ["work"]
    prefetch = ["16"] if name.endswith("16") else []
    with gearmand() as port:
        if mode in ("background", "drain"):
            # The C client waits for one job first: a worker that leaves after it.
            worker = subprocess.Popen([LIBGEARMAN, port, "work", "1"], stdout=subprocess.DEVNULL)
            submitter = program if mode == "background" else [LIBGEARMAN]
            seconds = run([*submitter, port, "background", str(count)])
            worker.wait()
            if mode == "drain":
                seconds = run([*program, port, "work", str(count), *prefetch])
            return count / seconds
        worker = subprocess.Popen([*program, port, *work, *prefetch])
        try:
            return count / run([*program, port, mode, str(count)])
        finally:
            worker.terminate()
            worker.wait()


def run(command: list[str]) -> float:
    """Returns the seconds that a program printed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=LONGEST_RUN, check=True
    )
    return float(done.stdout)


def ratio(own: list[float], other: list[float] | None) -> str:
    """Returns the median of the ratios, run by run."""
    if other is None:
        return ""
    return f"{statistics.median(a / b for a, b in zip(own, other, strict=True)):.2f}"


def main() -> None:
    """Prints the table, and writes it to RESULTS.md."""
    lines = [
        f"Jobs a second: median (least to most) of {REPETITIONS} interleaved runs after a warm-up.",
        "",
        "| | contestant | jobs/s | × C | × bare |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for title, mode, count, names in ROWS:
        rates: dict[str, list[float]] = {name: [] for name in names}
        for repetition in range(REPETITIONS + 1):
            for name in names:
                rate = measure(name, mode, count)
                if repetition:
                    rates[name].append(rate)
        for name in names:
            ratios = [ratio(rates[name], rates.get(base)) for base in ("C", "bare")]
            own = rates[name]
            rate = f"{statistics.median(own):,.0f} ({min(own):,.0f} to {max(own):,.0f})"
            lines.append(f"| {title} | {name} | {rate} | {ratios[0]} | {ratios[1]} |")
            print(lines[-1], flush=True)
    (HERE / "RESULTS.md").write_text("# Results\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
