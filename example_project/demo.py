"""`make demo`: runs the example project on this machine, on free ports, until Ctrl-C.

Starts a MongoDB, workers with a job server, and the site; makes one call, and prints the address
of the page. With `--once`, it fetches the page and stops. Everything that it starts ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib.util
import os
import shutil
import subprocess
import sys

from corpus.survey import summarise
from processes import (
    HERE,
    LOOPBACK,
    START_TIMEOUT,
    DemoError,
    Processes,
    Stopped,
    accepts,
    free_port,
    is_free,
)

from gearmanny.admin import JobServer
from gearmanny.client import SimpleClient
from gearmanny.errors import GearmanException, JobServerLost, JobServerUnavailable

PACKAGE = "json"
PROCESSES = 2


def start_gearmand(processes: Processes, host: str) -> None:
    """Starts gearmand at a host. Otherwise, the workers start gearmanny's own job server."""
    program = shutil.which("gearmand", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        raise DemoError(
            "gearmand is missing. Install it: sudo apt-get install gearman-job-server "
            "(brew install gearman on a Mac)"
        )
    _, _, port = host.rpartition(":")
    # As root, it would switch to a user that may not exist.
    user = ["-u", "root"] if os.geteuid() == 0 else []
    # One thread: more of them cost gearmand more time than they save.
    options = ["--threads=1", "-L", LOOPBACK, "-p", port, "-l", "stderr", *user]
    processes.start("gearmand", program, *options, "-P", processes.folder / "gearmand.pid")
    server = JobServer(host, timeout=2)
    processes.wait_until("gearmand", lambda: _answers(server))


def _answers(server: JobServer) -> bool:
    try:
        return bool(server.version())
    except (JobServerUnavailable, JobServerLost):
        return False


def start_mongodb(processes: Processes) -> None:
    """Starts a server that speaks MongoDB's protocol, unless MONGODB_URI names one."""
    if os.environ.get("MONGODB_URI"):
        tell("MongoDB", "the server at MONGODB_URI")
        return
    if importlib.util.find_spec("secantus") is None:
        raise DemoError(
            "SecantusDB is missing. Install it: pip install 'gearmanny[demo]', or set "
            "MONGODB_URI to a running MongoDB."
        )
    port = free_port()
    processes.start(
        *("MongoDB", sys.executable, "-m", "secantus", "--host", LOOPBACK, "--port", str(port)),
        *("--storage-path", processes.folder / "mongodb", "--log-level", "WARNING", "--standalone"),
    )
    processes.wait_until("MongoDB", lambda: accepts(port))
    processes.environment["MONGODB_URI"] = f"mongodb://{LOOPBACK}:{port}/"
    tell("MongoDB", f"{LOOPBACK}:{port}  (SecantusDB, in a temporary folder)")


def make_tables(processes: Processes) -> None:
    """Makes the tables of records and schedules, in a temporary folder unless DATABASE is set."""
    processes.environment.setdefault("DATABASE", str(processes.folder / "corpus.sqlite3"))
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--skip-checks", "--verbosity", "0"],
        cwd=HERE,
        env=processes.environment,
        check=True,
    )
    tell("database", processes.environment["DATABASE"])


def start_workers(processes: Processes, host: str) -> None:
    """Starts `manage.py runworkers --embedded`, and a job server unless one runs at the host."""
    processes.start(
        *("workers", sys.executable, "manage.py", "runworkers", "--embedded", "--no-reload"),
        *("--threads", str(PROCESSES)),
    )
    server = JobServer(host)

    def registered() -> bool:
        rows = server.status() if _answers(server) else []
        return any(row.function == "corpus_survey" and row.workers == PROCESSES for row in rows)

    processes.wait_until("workers", registered)
    tell("job server", f"{host}  (version {server.version()})")
    tell("workers", f"{PROCESSES} processes of manage.py runworkers")


def start_site(processes: Processes) -> str:
    """Starts `manage.py runserver`, fetches the page, and returns its address."""
    port = 8000 if is_free(8000) else free_port()
    processes.start(
        "site", sys.executable, "manage.py", "runserver", "--noreload", f"{LOOPBACK}:{port}"
    )
    processes.wait_until("site", lambda: accepts(port))
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=START_TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        status = connection.getresponse().status
    if status != 200:
        raise DemoError(f"The page was answered with status {status} instead of 200.")
    url = f"http://{LOOPBACK}:{port}/"
    tell("site", f"{url}  (manage.py runserver)")
    return url


def call_once(host: str) -> None:
    """Calls a task, as any program can, and prints the result."""
    with SimpleClient([host], timeout=START_TIMEOUT) as client:
        totals = summarise(client.corpus_survey(package=PACKAGE))
    longest = totals["longest_function"]
    print(f'\nSimpleClient(["{host}"]).corpus_survey(package="{PACKAGE}") returned:')
    print(
        f"  {totals['files']} files, {totals['lines']} lines, {totals['classes']} classes, "
        f"{totals['functions']} functions"
    )
    if longest:
        print(
            f"  longest function: {longest['name']}(), {longest['lines']} lines, "
            f"in {longest['file']}:{longest['line']}"
        )


def tell(name: str, where: str) -> None:
    """Prints where a server is running."""
    print(f"  {name:<10} {where}", flush=True)


def run(processes: Processes, *, gearmand: bool, once: bool) -> None:
    """Starts everything, makes one call, and serves until stopped unless `once`."""
    print("Starting", flush=True)
    host = processes.environment["GEARMAN_HOSTS"] = f"{LOOPBACK}:{free_port()}"
    if gearmand:
        start_gearmand(processes, host)
    start_mongodb(processes)
    make_tables(processes)
    start_workers(processes, host)
    url = start_site(processes)
    call_once(host)
    if not once:
        print(f"\nOpen {url} – Ctrl-C stops everything.", flush=True)
        processes.serve()


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Runs the example project on this machine.")
    parser.add_argument("--once", action="store_true", help="make one call, fetch the page, stop")
    parser.add_argument(
        "--gearmand", action="store_true", help="use gearmand, not gearmanny's own job server"
    )
    options = parser.parse_args()
    problem = ""
    with Processes() as processes:
        try:
            run(processes, gearmand=options.gearmand, once=options.once)
        except Stopped:
            # The usual end, unless the call was still to be made.
            problem = "Stopped before it was done." if options.once else ""
        except (DemoError, GearmanException, OSError, http.client.HTTPException) as error:
            problem = str(error)
        if not problem:
            print("\nStopping", flush=True)
    if problem:
        print(problem, file=sys.stderr)
        return 1
    print("Everything is stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
