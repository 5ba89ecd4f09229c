"""Servers, workers and clients in processes of their own, which benchmarks start and measure."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gearmanny.admin import JobServer
from gearmanny.net.loopback import free_port
from gearmanny.serving.process import running_where_none_is
from gearmanny.testing import Gearmand
from tools.processes import end, until

HERE = Path(__file__).parent
CONTESTANT = [sys.executable, str(HERE / "contestant.py")]
AIO_CONTESTANT = [sys.executable, str(HERE / "aio.py")]
LONGEST_RUN = 120
"""Seconds after which a run counts as hung."""

# An installed package has bytecode: without it, every program would compile gearmanny first.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

Tell = Callable[[str], None]
"""Takes the next line of the results, in Markdown."""


def last_line(text: str) -> str:
    return "".join(text.splitlines()[-1:])


def failure(error: BaseException) -> str:
    """Returns the text of a cell for a contestant that failed."""
    return f"failed: {str(error).splitlines()[0][:100]}" if str(error) else "failed"


@contextlib.contextmanager
def job_server(*options: str) -> Iterator[str]:
    """Runs a gearmand with these options, or else with one thread; yields its port."""
    with Gearmand(*(options or ["--threads=1"])) as server:
        yield str(server.port)


@contextlib.contextmanager
def own_job_server() -> Iterator[str]:
    """Runs gearmanny's own job server; yields its port."""
    port = free_port()
    with running_where_none_is([f"127.0.0.1:{port}"]):
        yield str(port)


@contextlib.contextmanager
def running(
    commands: list[list[str]],
    *,
    cwd: Path | str | None = None,
    env: dict[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[list[subprocess.Popen[str]]]:
    """Runs programs until the block ends; what they print goes to a log, or is discarded."""
    processes: list[subprocess.Popen[str]] = []
    with open(log or os.devnull, "wb") as output:
        options: dict[str, Any] = {"stdout": output, "stderr": output, "cwd": cwd, "env": env}
        try:
            for command in commands:
                processes.append(
                    subprocess.Popen(command, text=True, start_new_session=True, **options)
                )
            yield processes
        finally:
            for process in processes:
                end(process)
                with contextlib.suppress(ProcessLookupError):  # what some of them leave
                    os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def workers(port: str, number: int = 1) -> Iterator[list[int]]:
    """Runs so many workers at a job server; yields the ids of their processes."""
    with running([[*CONTESTANT, port, "work", "0"]] * number) as processes:
        until(lambda: offered(port) == number)
        yield [process.pid for process in processes]


def offered(port: str, function: str = "bench_add") -> int:
    """Returns how many workers offer a function."""
    status = JobServer(f"127.0.0.1:{port}").status()
    return sum(row.workers for row in status if row.function == function)


def run(
    *command: str,
    timeout: float = LONGEST_RUN,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> list[float]:
    """Returns the numbers that a program printed; the last line of its log is part of its error."""
    options: dict[str, Any] = {"cwd": cwd, "env": env, "timeout": timeout}
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=log, text=True, check=False, **options
        )
        log.seek(0)
        assert done.returncode == 0, f"it ended with {done.returncode}: {last_line(log.read())}"
    return [float(number) for number in done.stdout.split()]


def cpu_seconds(pid: int) -> float:
    """Returns the processor time of all threads of a process that live."""
    return sum(
        int((thread / "schedstat").read_text().split()[0]) / 1e9
        for thread in Path(f"/proc/{pid}/task").iterdir()
    )


def tree(pid: int) -> Iterator[int]:
    """Yields a process and all that came from it."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from tree(int(child))


def pid_of(port: str) -> int:
    """Returns the process that listens on a port of the loopback address."""
    address = f"0100007F:{int(port):04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] == address and row[3] == "0A"}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(fd.readlink()) in sockets for fd in (process / "fd").iterdir()):
                return int(process.name)
    raise ProcessLookupError(f"no process listens on port {port}")
