"""`make demo`: runs the example project on this machine, on free ports, until Ctrl-C.

Starts a MongoDB, workers with a job server, and the site; makes one call, and prints the addresses
of the page and the explorer, with a user that may do everything. The database is in a temporary
folder, so that user and password are new each time, and gone with the demo. With `--once`, it
fetches the page and stops. Everything that it starts ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from corpus.survey import summarise

from gearmanny.admin import JobServer
from gearmanny.client import SimpleClient
from gearmanny.errors import GearmanException, JobServerLost, JobServerUnavailable
from gearmanny.net.loopback import free_port
from gearmanny.testing import PATIENCE, Gearmand

HERE = Path(__file__).resolve().parent
LOOPBACK = "127.0.0.1"
MANAGE = (sys.executable, "manage.py")
PACKAGE = "json"
USER = "demo"

PAUSE = 0.05
"""Seconds between two looks at whether something is ready, or was asked to stop."""


class DemoError(Exception):
    """The demo cannot continue. The text says why, and what to do."""


class Stopped(Exception):
    """The demo was asked to stop."""


class Demo(contextlib.ExitStack):
    """The servers of the demo. Leaving it ends all of them.

    Signals only set a flag, which is checked between the steps: so every process that was started
    is recorded, and a second Ctrl-C cannot interrupt the clean-up.
    """

    def __init__(self) -> None:
        super().__init__()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._is_asked_to_stop = False
        self.folder = Path()
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DEBUG": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Demo:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, self._ask_to_stop)
        folder = tempfile.TemporaryDirectory(prefix="gearmanny-demo-", ignore_cleanup_errors=True)
        self.folder = Path(self.enter_context(folder))
        self.environment["DATABASE"] = str(self.folder / "corpus.sqlite3")
        return self

    def start(self, name: str, ready: Callable[[], object], *command: str) -> None:
        """Starts a process, and waits until it is ready. Its last words say why it is not."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = self._processes[name] = subprocess.Popen(
                command,
                cwd=HERE,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A terminal sends Ctrl-C to the whole group, but only this process is to handle it.
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  there are no threads
            )
        self.callback(_end, process)
        deadline = time.monotonic() + PATIENCE
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"{name} was not ready in time.{self._last_words(name)}")
            time.sleep(PAUSE)
        self.check()

    def serve(self) -> None:
        """Waits until the demo is asked to stop, or one of its processes ends."""
        while True:
            self.check()
            time.sleep(PAUSE)

    def check(self) -> None:
        """Raises `Stopped` if the demo was asked to stop, and DemoError if a process has ended."""
        if self._is_asked_to_stop:
            raise Stopped
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None:
                raise DemoError(f"{name} ended (exit code {code}).{self._last_words(name)}")

    def _ask_to_stop(self, number: int, frame: object) -> None:
        self._is_asked_to_stop = True

    def _last_words(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-8:]
        return "".join(f"\n  {line}" for line in lines)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its children, too: it leads a group of its own
        process.wait()


def _end_with_parent() -> None:
    """Makes a child end if this process is killed. Only Linux can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def start_gearmand(demo: Demo) -> str:
    """Starts gearmand; returns its host."""
    try:
        return demo.enter_context(Gearmand()).host
    except (FileNotFoundError, RuntimeError) as error:
        raise DemoError(str(error)) from None


def start_mongodb(demo: Demo) -> None:
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
    demo.start(
        *("MongoDB", lambda: accepts(port), sys.executable, "-m", "secantus", "--port", str(port)),
        *("--storage-path", str(demo.folder / "mongodb"), "--log-level", "WARNING", "--standalone"),
    )
    demo.environment["MONGODB_URI"] = f"mongodb://{LOOPBACK}:{port}/"
    tell("MongoDB", f"{LOOPBACK}:{port}  (SecantusDB, in a temporary folder)")


def make_database(demo: Demo) -> str:
    """Makes the tables and a user; returns the password."""
    password = secrets.token_urlsafe(9)
    environment = demo.environment | {"DJANGO_SUPERUSER_PASSWORD": password}
    user = ("--noinput", "--username", USER, "--email", f"{USER}@localhost")
    for command in (("migrate", "--skip-checks"), ("createsuperuser", *user)):
        subprocess.run(
            [*MANAGE, *command, "--verbosity", "0"], cwd=HERE, env=environment, check=True
        )
        demo.check()
    tell("database", demo.environment["DATABASE"])
    return password


def start_workers(demo: Demo, host: str) -> None:
    """Starts `manage.py runworkers --embedded`, and a job server unless one runs at the host."""
    server = JobServer(host)

    def are_ready() -> bool:
        try:
            offered = {row.function for row in server.status() if row.workers}
        except (JobServerUnavailable, JobServerLost):
            return False
        return {"corpus_survey", "reports_write"} <= offered

    demo.start("workers", are_ready, *MANAGE, "runworkers", "--embedded", "--no-reload")
    tell("job server", f"{host}  (version {server.version()})")
    tell("workers", "two pools of manage.py runworkers")


def start_site(demo: Demo) -> str:
    """Starts `manage.py runserver`, fetches the page, and returns its address."""
    port = 8000 if is_free(8000) else free_port()
    url = f"http://{LOOPBACK}:{port}/"
    runserver = (*MANAGE, "runserver", "--noreload", f"{LOOPBACK}:{port}")
    demo.start("site", lambda: accepts(port), *runserver)
    try:
        urllib.request.urlopen(url, timeout=PATIENCE).close()
    except urllib.error.HTTPError as error:
        raise DemoError(f"The page was answered with status {error.code}.") from None
    tell("site", f"{url}  (manage.py runserver)")
    return url


def call_once(host: str) -> None:
    """Calls a task, as any program can, and prints the result."""
    with SimpleClient([host], timeout=PATIENCE) as client:
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


def is_free(port: int) -> bool:
    """Returns whether a server can listen on a port of 127.0.0.1."""
    with socket.socket() as sock:
        # As runserver does: a port that was closed a moment ago is free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Returns whether a server listens on a port of 127.0.0.1."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def tell(name: str, where: str) -> None:
    """Prints where a server is running."""
    print(f"  {name:<10} {where}", flush=True)


def run(demo: Demo, *, gearmand: bool, once: bool) -> None:
    """Starts everything, makes one call, and serves until stopped unless `once`."""
    print("Starting", flush=True)
    host = start_gearmand(demo) if gearmand else f"{LOOPBACK}:{free_port()}"
    demo.environment["GEARMAN_HOSTS"] = host
    start_mongodb(demo)
    password = make_database(demo)
    start_workers(demo, host)
    url = start_site(demo)
    call_once(host)
    if not once:
        print(f"\nThe explorer: {url}admin/gearmanny/ – user {USER}, password {password}")
        print(f"Open {url} – Ctrl-C stops everything.", flush=True)
        demo.serve()


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Runs the example project on this machine.")
    parser.add_argument("--once", action="store_true", help="make one call, fetch the page, stop")
    parser.add_argument(
        "--gearmand", action="store_true", help="use gearmand, not gearmanny's own job server"
    )
    options = parser.parse_args()
    problem = ""
    with Demo() as demo:
        try:
            run(demo, gearmand=options.gearmand, once=options.once)
        except Stopped:
            # The usual end, unless the call was still to be made.
            problem = "Stopped before it was done." if options.once else ""
        except (DemoError, GearmanException, OSError, subprocess.SubprocessError) as error:
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
