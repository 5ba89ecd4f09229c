"""Processes that end together, and the ports that they listen on. For `demo.py`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LOOPBACK = "127.0.0.1"
HERE = Path(__file__).resolve().parent

START_TIMEOUT = 30.0
"""Seconds that one server may take to be ready: far more than it needs on a busy machine."""
STOP_TIMEOUT = 10.0
"""Seconds that one process may take to end before it is killed."""
POLL_INTERVAL = 0.05
"""Seconds between two looks at whether something is ready."""
SERVE_INTERVAL = 0.2
"""Seconds between two looks at whether everything still runs."""


class DemoError(Exception):
    """The demo cannot continue. The text says why, and what to do."""


class Stopped(Exception):
    """The demo was asked to stop."""


class Processes:
    """The processes that the demo started. A context manager that ends all of them.

    Signals only set a flag, which is checked between the steps: so every process that was started
    is recorded, and a second Ctrl-C cannot interrupt the clean-up.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._stop_asked = False
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DEBUG": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Processes:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, self._ask_to_stop)
        folder = tempfile.TemporaryDirectory(prefix="gearmanny-demo-", ignore_cleanup_errors=True)
        self.folder = Path(self._stack.enter_context(folder))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self, name: str, *command: str | Path) -> None:
        """Starts a process. Its output goes to a file, whose last lines are shown if it fails."""
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=HERE,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A terminal sends Ctrl-C to the whole group, but only this process is to handle it.
                start_new_session=True,
                preexec_fn=_end_with_parent(),  # noqa: PLW1509  there are no threads
            )
        self._stack.callback(_end, process)
        self._started[name] = process

    def wait_until(self, name: str, ready: Callable[[], bool]) -> None:
        """Waits until a process that was started is ready."""
        deadline = time.monotonic() + START_TIMEOUT
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"{name} was not ready within {START_TIMEOUT:g} s.{self._last_words(name)}"
                )
            time.sleep(POLL_INTERVAL)
        self.check()

    def serve(self) -> None:
        """Waits until the demo is asked to stop, or one of its processes ends."""
        while True:
            self.check()
            time.sleep(SERVE_INTERVAL)

    def check(self) -> None:
        """Raises `Stopped` if the demo was asked to stop, and DemoError if a process has ended."""
        if self._stop_asked:
            raise Stopped
        for name, process in self._started.items():
            code = process.poll()
            if code is not None:
                raise DemoError(f"{name} ended (exit code {code}).{self._last_words(name)}")

    def _ask_to_stop(self, number: int, frame: object) -> None:
        self._stop_asked = True

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _last_words(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").splitlines()[-8:]
        return "".join(f"\n  {line}" for line in lines)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        # Its children, too: it leads a group of its own.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end_with_parent() -> Callable[[], None] | None:
    """Returns a function that makes a child end if this process is killed; None except on Linux."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    set_parent_death_signal = 1

    def tie() -> None:
        prctl(set_parent_death_signal, signal.SIGTERM)

    return tie


def free_port() -> int:
    """Returns a free port of 127.0.0.1."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


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
