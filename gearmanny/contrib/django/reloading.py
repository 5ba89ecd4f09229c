"""`runworkers --reload`: runs the command in a child process, and again when code has changed.

Django's autoreload finds the changes, but does not run the command: it would do so in a thread,
where no signals are handled, and leave by `sys.exit()`, which waits for worker processes that
nobody has told to stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

from django.utils import autoreload

from gearmanny.contrib.django.changes import Changes
from gearmanny.errors import GearmanException
from gearmanny.net.forks import end_with
from gearmanny.net.polling import Waker
from gearmanny.running.orphans import INTERVAL, bury_orphans, inherits_orphans
from gearmanny.running.signals import Terminal
from gearmanny.running.workprocess import end_of
from gearmanny.serving.process import ServerProcess

_WATCHER = "GEARMANNY_WATCHER"
"""The environment variable by which the child knows the process that watches."""

_STOP = (signal.SIGTERM, signal.SIGINT)
_HANDLED = (*_STOP, signal.SIGHUP, signal.SIGUSR1)

_ASK_INTERVAL = 0.5
"""Seconds between two looks whether the child has ended, where the system does not notify."""


def is_watched() -> bool:
    """Returns whether this process is the child of one that watches, and ends with it from now on.
    True once: programs that this process starts are not watched."""
    watcher = os.environ.pop(_WATCHER, None)
    if watcher is None:
        return False
    end_with(int(watcher))
    return True


def can_watch() -> bool:
    """Returns whether this process can watch: signals are handled in the main thread only, and one
    that Django's own autoreload runs is replaced by that."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and autoreload.DJANGO_AUTORELOAD_ENV not in os.environ


class Watcher:
    """Runs this program in a child process until it is to stop, and again after each change."""

    def __init__(
        self,
        tell: Callable[[str], object],
        final_codes: Collection[int],
        server: ServerProcess | None = None,
    ) -> None:
        """
        Args:
            tell: is given a line for each change, and for each end that has to be explained.
            final_codes: the exit codes of the child that no change of code will mend.
            server: a process that is to outlive all children.
        """
        self._tell = tell
        self._final_codes = final_codes
        self._server = server
        self._waker = Waker()
        self._terminal = Terminal()
        self._received: deque[int] = deque()
        self._changes: Changes | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._end: int | None = None
        """The descriptor that becomes readable when the child ends, where there is one."""
        self._started_at = 0.0
        self._asked = False
        """Whether the child was told to stop."""
        self._stopping = False
        self._inherits_orphans = inherits_orphans()

    def run(self) -> int:
        """Runs the program until a signal stops it, or it ends by itself for good.

        Returns:
            Its exit code.
        """
        with self._handled_signals():
            try:
                self._start()
                while True:
                    self._wait()
                    code = self._advance()
                    if code is not None:
                        return code
            finally:
                if self._child is not None:
                    self._child.kill()
                    self._bury()
                self._waker.close()

    @contextlib.contextmanager
    def _handled_signals(self) -> Iterator[None]:
        def receive(number: int, frame: FrameType | None) -> None:
            self._received.append(number)
            self._waker.wake()

        previous = {
            number: signal.signal(number, receive)
            for number in _HANDLED
            if number in _STOP or signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        self._started_at = time.time()
        self._look_for_changes()
        self._asked = False
        self._child = subprocess.Popen(
            _command(),
            env={**os.environ, _WATCHER: str(os.getpid())},
            # A terminal sends Ctrl-C to the whole group, and so do others that stop a program.
            # Twice is at once, so only this process is to get it.
            start_new_session=True,
        )
        self._end = end_of(self._child.pid)

    def _look_for_changes(self) -> None:
        if self._changes is not None:
            self._changes.forget()
        self._changes = Changes(self._waker.wake, self._started_at)

    def _wait(self) -> None:
        ends = [self._end] if self._end is not None else []
        if self._server is not None:
            ends.append(self._server.sentinel)
        intervals = []
        if self._child is not None and self._end is None:
            intervals.append(_ASK_INTERVAL)
        if self._inherits_orphans:
            intervals.append(INTERVAL)
        wait([self._waker.fileno(), *ends], min(intervals, default=None))
        self._waker.clear()

    def _advance(self) -> int | None:
        """Does what has to be done now. Returns the exit code when all is over."""
        if self._inherits_orphans:
            bury_orphans([self._child.pid] if self._child is not None else [])
        while self._received:
            if not self._obey(self._received.popleft()):
                return 0
        if self._server is not None and self._server.has_ended():
            self._replace(self._server)
        assert self._changes is not None
        changed = self._changes.take()
        if changed is not None:
            self._reload(changed)
        code = None if self._child is None else self._child.poll()
        return None if code is None else self._ended(code)

    def _obey(self, number: int) -> bool:
        """Passes a signal on. Returns whether there is something to wait for."""
        if number == signal.SIGHUP and self._terminal.is_closed():
            number = signal.SIGTERM
        if self._child is None:
            if number in _STOP:
                return False
            if number == signal.SIGHUP:
                self._start()
        elif number not in _STOP:
            self._child.send_signal(number)
        elif self._stopping or not self._asked:
            self._stopping = self._asked = True
            self._child.terminate()
        else:
            self._stopping = True  # it finishes its jobs already, because of a change
        return True

    def _reload(self, changed: Path) -> None:
        if self._asked:
            return
        self._tell(f"{changed} has changed: starting again.")
        if self._child is None:
            self._start()
        else:
            self._asked = True
            self._child.terminate()

    def _ended(self, code: int) -> int | None:
        self._bury()
        if self._stopping:
            return 0 if code == -signal.SIGTERM else _exit_code(code)
        if self._asked:
            self._start()
        elif code == 0 or code in self._final_codes:
            return code
        else:
            how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
            self._tell(f"runworkers has ended ({how}). It starts again when its code has changed.")
        return None

    def _bury(self) -> None:
        assert self._child is not None
        self._child.wait()
        self._child = None
        if self._end is not None:
            os.close(self._end)
            self._end = None

    def _replace(self, server: ServerProcess) -> None:
        assert self._changes is not None
        self._changes.forget()
        self._changes.join()  # a process with threads should not fork
        try:
            server.replace()
        except (GearmanException, OSError) as error:
            self._tell(f"{server} has ended, and cannot be started: {error}")
            self._server = None
        else:
            self._tell(f"{server} has ended; another one was started.")
        self._look_for_changes()


def _command() -> list[str]:
    """Returns the command line of this program."""
    main = sys.modules["__main__"]
    given = sys.argv[0]
    if getattr(main, "__spec__", None) is None and getattr(main, "__file__", None):
        # The program may have left the folder that its path is relative to.
        sys.argv[0] = str(main.__file__)
    try:
        return [str(part) for part in autoreload.get_child_arguments()]
    finally:
        sys.argv[0] = given


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code
