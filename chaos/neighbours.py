"""Our own job server among neighbours that flood it, and others that read slowly or not at all.

    python -m chaos.neighbours [SECONDS]

Meanwhile a client calls a worker all the time. Every call has to be answered, rightly, every part
of a stream has to arrive once, and the memory of the server stays bounded.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.net.loopback import free_port
from gearmanny.protocol.packets import PacketType, pack
from gearmanny.worker import BaseWorker
from tools.processes import PATIENCE, end, until, working

MAX_MEMORY = 512
"""MiB, for the jobs of the server."""
ENOUGH = 3 * MAX_MEMORY
"""MiB that the process of the server may take: for jobs, for what arrives, for what is unread."""
PARTS = 40
"""Of 1 MB each: what a slow reader is sent."""


class Honest(BaseWorker):
    name = "honest"

    def task_double(self, n: int) -> int:
        return 2 * n

    def task_stream(self) -> Iterator[str]:
        for number in range(PARTS):
            yield f"{number} " + "x" * 1_000_000


class Figures:
    """The outcome of a run."""

    def __init__(self) -> None:
        self.calls = self.wrong = self.streams = 0
        self.longest = 0.0
        self.peak = 0
        """MiB."""
        self.failed: Counter[str] = Counter()
        self.attacks: Counter[str] = Counter()


def request(type: PacketType, *arguments: bytes) -> bytes:
    """Returns the bytes of a packet."""
    return b"".join(pack(type, *arguments))


def answers_to_oneself(sock: socket.socket) -> None:
    sock.sendall(b"".join(b"create function %d%s\n" % (n, b"f" * 8000) for n in range(50)))
    sock.sendall(b"status\nworkers\n" * 2000)


def names(sock: socket.socket) -> None:
    number = random.randrange(10**9)
    jobs = (
        request(PacketType.SUBMIT_JOB, b"name%d-%d" % (number, n), b"", b"") for n in range(500)
    )
    sock.sendall(b"".join(jobs))


def jobs_that_nobody_does(sock: socket.socket) -> None:
    sock.sendall(request(PacketType.SUBMIT_JOB, b"nobody", b"", bytes(100_000)) * 200)


def unfinished(sock: socket.socket) -> None:
    whole = request(PacketType.SUBMIT_JOB_BG, b"nobody", b"", bytes(20_000_000))
    sock.sendall(whole[:-1])


def garbage(sock: socket.socket) -> None:
    sock.sendall(random.randbytes(10_000))


def http(sock: socket.socket) -> None:
    sock.sendall(
        b"POST / HTTP/1.1\r\n\r\n" + request(PacketType.SUBMIT_JOB_BG, b"nobody", b"", b"")
    )


def questions(sock: socket.socket) -> None:
    sock.sendall(request(PacketType.GRAB_JOB) * 50_000)
    sock.sendall(request(PacketType.GET_STATUS_UNIQUE, b"none") * 5_000)


def one_job_many_times(sock: socket.socket) -> None:
    sock.sendall(request(PacketType.CAN_DO, b"mine"))
    sock.sendall(request(PacketType.SUBMIT_JOB, b"mine", b"key", b"") * 5_000)
    sock.sendall(request(PacketType.GRAB_JOB))
    created = sock.recv(100, socket.MSG_WAITALL)
    handle = created[12 : 12 + int.from_bytes(created[8:12], "big")]
    sock.sendall(request(PacketType.WORK_DATA, handle, b"part") * 5_000)


ATTACKS: tuple[Callable[[socket.socket], None], ...] = (
    answers_to_oneself, names, jobs_that_nobody_does, unfinished, garbage, http, questions,
    one_job_many_times,
)  # fmt: skip


@contextlib.contextmanager
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Runs `gearmanny server`; yields its process and its port."""
    port = free_port()
    command = [sys.executable, "-m", "gearmanny", "server", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--max-memory", str(MAX_MEMORY)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process, port
    finally:
        end(process)


def attack(port: int, over: threading.Event, figures: Figures, chance: random.Random) -> None:
    """Attacks until it is over, with a few connections at a time that are never read."""
    held: list[socket.socket] = []
    while not over.is_set():
        chosen = chance.choice(ATTACKS)
        figures.attacks[chosen.__name__] += 1
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        sock.settimeout(1)
        held.append(sock)
        with contextlib.suppress(OSError):  # closed, or not read
            chosen(sock)
        if len(held) > 8:
            held.pop(chance.randrange(len(held))).close()
        over.wait(chance.uniform(0, 0.2))
    for sock in held:
        sock.close()


def call(host: str, over: threading.Event, figures: Figures) -> None:
    """Calls until it is over."""
    with SimpleClient([host], timeout=PATIENCE) as client:
        while not over.is_set():
            begun = time.monotonic()
            try:
                figures.wrong += client.honest_double(n=figures.calls) != 2 * figures.calls
            except Exception as error:
                figures.failed[f"{type(error).__name__}: {error}"[:200]] += 1
            figures.calls += 1
            figures.longest = max(figures.longest, time.monotonic() - begun)


def read_slowly(host: str, over: threading.Event, figures: Figures) -> None:
    """Lets streams wait before it reads them, each a little longer than the one before."""
    pause = 0.5
    with AsyncClient([host]) as client:
        while not over.is_set():
            work = client.honest_stream()
            over.wait(pause)
            pause *= 2
            try:
                parts = [part.split(" ")[0] for part in work.get_result(PATIENCE)]
                figures.wrong += parts != [str(number) for number in range(PARTS)]
                figures.streams += 1
            except Exception as error:
                figures.failed[f"{type(error).__name__}: {error}"[:200]] += 1


def resident(process: subprocess.Popen[str]) -> int:
    """Returns the MiB that a process takes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def run(seconds: float, seed: int = 4730) -> Figures:
    """Attacks for so long; returns what came of it."""
    figures, over = Figures(), threading.Event()
    with server() as (process, port):
        host = f"127.0.0.1:{port}"
        with working(Honest([host])):
            threads = [
                threading.Thread(target=attack, args=(port, over, figures, random.Random(seed))),
                threading.Thread(target=call, args=(host, over, figures)),
                threading.Thread(target=read_slowly, args=(host, over, figures)),
            ]
            for thread in threads:
                thread.start()
            until_then = time.monotonic() + seconds
            while time.monotonic() < until_then and process.poll() is None:
                figures.peak = max(figures.peak, resident(process))
                over.wait(0.1)
            over.set()
            for thread in threads:
                thread.join()
            if process.poll() is not None:
                figures.failed["the job server ended"] += 1
            else:
                until(lambda: SimpleClient([host]).honest_double(n=1) == 2, "a call at last")
    return figures


def main(seconds: float = 60) -> bool:
    """Prints the figures; returns whether nothing was lost, and the memory is bounded."""
    figures = run(seconds)
    print(
        f"neighbours: {sum(figures.attacks.values())} attacks, {figures.calls:,} calls and "
        f"{figures.streams} slow streams in {seconds:g} s, {figures.wrong} wrong, "
        f"{sum(figures.failed.values())} failed; longest call {figures.longest:.1f} s; "
        f"the server took {figures.peak} MiB"
    )
    for error, count in figures.failed.items():
        print(f"  {count} × {error}")
    return not figures.wrong and not figures.failed and figures.peak <= ENOUGH


if __name__ == "__main__":
    sys.exit(not main(*map(float, sys.argv[1:])))
