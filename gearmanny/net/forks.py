"""Processes that are forked from this one: what they must not inherit, and when they end.

A task may fork, on purpose or by `multiprocessing`. The child gets a copy of every
descriptor, and a connection is open for as long as anybody has one: a job server would
wait for the answer of a worker that was killed until its last helper has ended. It
gets our signal handlers too, and would be deaf to what its parent sends it. And when
it comes out of the task it would go on as a second worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_PARENT_CHECK_INTERVAL = 0.5
"""Seconds a child may outlive a parent that was killed, where the kernel does not end it. A pipe
would tell sooner, but any process that the parent forks meanwhile would hold its other end open."""

_PR_SET_PDEATHSIG = 1

Handler = Callable[[int, FrameType | None], object]


class HasDescriptor(Protocol):
    """A socket, a pipe, or their owner."""

    def fileno(self) -> int:
        """Returns the descriptor; -1, or an OSError, once it is closed."""


D = TypeVar("D", bound=HasDescriptor)


class ThisProcess:
    """Tells a process from one that was forked from it: to ask for its id would cost a system call
    for each job."""

    forks = 0
    """How many forks lie between this process and the one that imported this module."""


this_process = ThisProcess()


def _count() -> None:
    this_process.forks += 1


os.register_at_fork(after_in_child=_count)

_kept: weakref.WeakSet[HasDescriptor] = weakref.WeakSet()


def keep_from_children(owner: D) -> D:
    """Lets processes that are forked from now on have no copy of a descriptor.

    Args:
        owner: has the descriptor, for as long as it lives itself.

    Returns:
        The owner.
    """
    _kept.add(owner)
    return owner


def _close_copies() -> None:
    if not _kept:
        return
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for owner in _kept:
        with contextlib.suppress(OSError):  # a pipe that is closed raises it
            descriptor = owner.fileno()
            if descriptor >= 0:
                # Not closed: the number would be that of another file when the owner closes it.
                os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)
    _kept.clear()


os.register_at_fork(after_in_child=_close_copies)


def handle_signals(handlers: Mapping[signal.Signals, Handler]) -> None:
    """Handles signals in this process alone: those that it forks, and the programs that it
    starts, have Python's own handling. Call it once, in the main thread.

    Args:
        handlers: by the number of the signal. None of them is `SIG_IGN`, which programs inherit.
    """
    for number, handler in handlers.items():
        signal.signal(number, handler)
        if handler is ignore:  # then it need not disturb C code that waits for something else
            signal.siginterrupt(number, False)
    numbers = tuple(handlers)
    masked = threading.local()

    def hold_back() -> None:
        # A signal that came before the child has its own handling would be lost on it.
        masked.before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def let_through() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked.before)

    def handle_as_usual() -> None:
        with contextlib.suppress(ValueError):  # there is none
            signal.set_wakeup_fd(-1)
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        let_through()
        if signal.SIGINT in numbers:
            # Not before: a KeyboardInterrupt in here would be ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)

    os.register_at_fork(
        before=hold_back, after_in_parent=let_through, after_in_child=handle_as_usual
    )


def ignore(number: int, frame: FrameType | None) -> None:
    """Ignores a signal."""


@contextlib.contextmanager
def signals_held_back(numbers: Sequence[int]) -> Iterator[None]:
    """Lets a signal for a child that is forked wait until the child can handle it, so that it is
    not taken for one to the parent, whose handlers the child inherits.

    Args:
        numbers: those of the signals, which the child has to unblock.
    """
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def end_with(parent: int) -> None:
    """Sees to it that this process ends when its parent does, and its job goes back to the queue.

    Args:
        parent: process id of the parent.
    """
    # The kernel does it at once, also to a task that keeps the interpreter for itself.
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0:
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)
        return
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_INTERVAL)
    os._exit(1)


def ending_forks(function: Callable[P, R]) -> Callable[P, R]:
    """Returns a function that does the same, and out of which no forked child comes: that ends
    there as a program does, with the exit code of its `SystemExit`, or 1 for another exception."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        forks = this_process.forks
        try:
            return function(*args, **kwargs)
        finally:
            if this_process.forks != forks:
                end_as_a_program()

    return call


def end_as_a_program() -> None:
    """Ends this process as Python ends a program: by the exception that is handled, if any."""
    error = sys.exception()
    try:
        code = _exit_code(error)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    finally:
        os._exit(code)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        return 1
    code: Any = error.code
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1
