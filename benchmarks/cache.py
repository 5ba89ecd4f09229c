"""Measures the cache beside a bare `find_one`, dogpile.cache and cashews.

    python -m benchmarks.cache PEERS_PYTHON [REPETITIONS]

PEERS_PYTHON has what `peers.txt` names; without it, the peers are left out. MongoDB is SecantusDB,
or the real one that GEARMANNY_TEST_MONGODB names. Prints a table. `make bench-cache` runs it.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pymongo.errors

from gearmanny.net.loopback import free_port
from tools.processes import end, until

CONTESTANT = str(Path(__file__).with_name("cache_contestant.py"))
SIZES = {"100 B": (100, 500), "10 kB": (10_000, 300), "1 MB": (1_000_000, 30)}
PROCESSES, CALLERS = 8, 8
READS, EXPIRIES = 1000, 10
LONGEST_STAMPEDE = 30
"""Seconds."""


@contextlib.contextmanager
def mongodb() -> Iterator[str]:
    """Runs a server that speaks MongoDB's wire protocol; yields its URI."""
    given = os.environ.get("GEARMANNY_TEST_MONGODB")
    if given:
        yield given
        return
    port = free_port()
    uri = f"mongodb://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "secantus", "--port", str(port)]
    command += ["--storage-path", ":memory:", "--log-level", "ERROR"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True)

    def answers() -> bool:
        with pymongo.MongoClient(uri, serverSelectionTimeoutMS=200) as client:
            try:
                return bool(client.admin.command("ping"))
            except pymongo.errors.PyMongoError:
                return False

    try:
        until(answers, "MongoDB answering")
        yield uri
    finally:
        end(process)


class Measurement:
    """The contestants, each with an empty place for every run."""

    def __init__(self, peers: str, uri: str) -> None:
        self.names = ["gearmanny", *(("dogpile", "cashews") if os.path.exists(peers) else ())]
        self._peers = peers
        self._uri = uri

    @contextlib.contextmanager
    def command(self, name: str) -> Iterator[list[str]]:
        """Yields the command of a contestant, without its mode."""
        if name in ("gearmanny", "bare"):
            with pymongo.MongoClient(self._uri) as client:
                client.drop_database("benchmarks")
            yield [sys.executable, CONTESTANT, name, self._uri]
            return
        with tempfile.TemporaryDirectory() as folder:
            yield [self._peers, CONTESTANT, name, folder]

    def run(self, name: str, *mode: str) -> list[float]:
        with self.command(name) as command:
            done = subprocess.run(
                [*command, *mode], stdout=subprocess.PIPE, text=True, timeout=300, check=True
            )
        return [float(number) for number in done.stdout.split()]

    def hits(self, repetitions: int) -> None:
        for title, (size, count) in SIZES.items():
            took: dict[str, list[float]] = {}
            for _ in range(repetitions):
                for name in ("bare", *self.names):
                    seconds = self.run(name, "hits", str(size), str(count))[0] / count
                    took.setdefault(name, []).append(seconds)
            for name, seconds in took.items():
                ratio = statistics.median(a / b for a, b in zip(seconds, took["bare"], strict=True))
                tell(
                    f"a hit of {title}",
                    name,
                    f"{1e6 * statistics.median(seconds):,.0f} µs, {ratio:.2f} × a bare find_one",
                )

    def stampedes(self) -> None:
        for name in self.names:
            for kills in (False, True):
                title = f"{PROCESSES * CALLERS} misses on {PROCESSES} processes"
                title += ", the one that computes is killed" if kills else ""
                tell(title, name, self._stampede(name, kills=kills))

    def _stampede(self, name: str, *, kills: bool) -> str:
        began: list[int] = []
        with self.command(name) as command:
            processes = [
                subprocess.Popen(
                    [*command, "stampede", str(CALLERS), "1"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
                for _ in range(PROCESSES)
            ]
            killing = threading.Lock()

            def listen(process: subprocess.Popen[str]) -> None:
                assert process.stdout
                for _ in process.stdout:
                    with killing:
                        began.append(process.pid)
                        if kills and len(began) == 1:
                            process.kill()

            listeners = [threading.Thread(target=listen, args=(each,)) for each in processes]
            for process in processes:
                assert process.stdout
                process.stdout.readline()
            for listener in listeners:
                listener.start()
            for process in processes:
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()
            ends = time.monotonic() + LONGEST_STAMPEDE
            waiting = 0
            for process in processes:
                try:
                    process.wait(max(0.0, ends - time.monotonic()))
                except subprocess.TimeoutExpired:
                    waiting += 1
                    process.kill()
                    process.wait()
            for listener in listeners:
                listener.join()
        unanswered = f", {waiting} processes wait after {LONGEST_STAMPEDE} s" if waiting else ""
        return f"{len(began)} computed{unanswered}"

    def reads(self) -> None:
        for name in self.names:
            longest, runs, most = self.run(name, "reads", str(READS), str(EXPIRIES))
            tell(
                f"{READS:,} reads a second over {EXPIRIES} expiries",
                name,
                f"longest wait {1000 * longest:,.0f} ms; {runs:.0f} computations of 200 ms, "
                f"{most:.0f} at a time",
            )


def tell(what: str, name: str, measured: str) -> None:
    print(f"| {what} | {name} | {measured} |", flush=True)


if __name__ == "__main__":
    peers = sys.argv[1] if sys.argv[1:] else ""
    with mongodb() as uri:
        measurement = Measurement(peers, uri)
        print("| | contestant | measured |\n|---|---|---|")
        measurement.hits(int(sys.argv[2]) if sys.argv[2:] else 5)
        measurement.stampedes()
        measurement.reads()
