"""Processes that are forked from this one: what they must not inherit, and when they end.

A task may fork, directly or through `multiprocessing`. The child gets a copy of every
descriptor, and a connection stays open as long as any process has one: a job server
would wait for the answer of a killed worker until its last child has ended. The child
inherits our signal handlers, too, and would ignore the signals of its parent. And if
it returned from the task, it would continue as a second worker.
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
from _signal import getsignal  # type: ignore[import-not-found]  # `signal` adds 4 µs for an enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_PARENT_CHECK_INTERVAL = 0.5
"""Seconds that a child may outlive a killed parent where the kernel does not end it. A pipe would
be faster, but every process that the parent forks would hold its other end open."""

_PR_SET_PDEATHSIG = 1

Handler = Callable[[int, FrameType | None], object]


class HasDescriptor(Protocol):
    """A socket, a pipe, or the owner of one."""

    def fileno(self) -> int:
        """Returns the descriptor. Returns -1 or raises OSError after it was closed."""


D = TypeVar("D", bound=HasDescriptor)


class ThisProcess:
    """A counter that differs between a process and its forked children.

    `os.getpid()` would be a system call for each job.
    """

    forks = 0
    """Number of forks between this process and the one that imported this module."""


this_process = ThisProcess()


def _count() -> None:
    this_process.forks += 1


os.register_at_fork(after_in_child=_count)

_kept: weakref.WeakSet[HasDescriptor] = weakref.WeakSet()


def keep_from_children(owner: D) -> D:
    """Closes the copy of a descriptor in processes that are forked from now on.

    Args:
        owner: the owner of the descriptor. Only a weak reference to it is kept.

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
        with contextlib.suppress(Exception):  # one that is closed must not keep others open
            descriptor = owner.fileno()
            if descriptor >= 0:
                # Not closed: another file could get the number before the owner closes it.
                os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)
    _kept.clear()


os.register_at_fork(after_in_child=_close_copies)


_handled: set[signal.Signals] = set()
"""Signals with handlers that are not for forked processes."""

_masked = threading.local()


def handle_signals(handlers: Mapping[signal.Signals, Handler]) -> None:
    """Handles signals in this process only.

    Forked processes, and programs that it starts, get Python's default handlers. Call this in the
    main thread.

    Args:
        handlers: the handlers by signal. Use `ignore` in place of `SIG_IGN`, which programs
            would inherit.
    """
    reset_in_children(*handlers)
    for number, handler in handlers.items():
        signal.signal(number, handler)
        if handler is ignore:  # no need to interrupt system calls of C code
            signal.siginterrupt(number, False)


def reset_in_children(*numbers: signal.Signals) -> None:
    """Gives forked processes Python's default handlers of signals, from their first moment on.

    Args:
        numbers: the signals.
    """
    _handled.update(numbers)


class HandledSignals:
    """The handlers of signals that are for this process only, as they are now. Code of others may
    replace them: `asyncio.run` sets those of the system when it ends, where its coroutine has
    handled a signal."""

    def __init__(self) -> None:
        self._handlers: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: getsignal(number) for number in _handled}

    def restore(self) -> list[str]:
        """Sets them again, and returns the names of the signals that had other handlers."""
        replaced = [
            number for number, handler in self._handlers.items() if getsignal(number) is not handler
        ]
        for number in replaced:
            handle_signals({number: self._handlers[number]})
        return [number.name for number in replaced]


@contextlib.contextmanager
def stopped_by_sigterm(stop: Callable[[], object]) -> Iterator[None]:
    """Handles SIGTERM in a block, if the program does not and this is the main thread.

    Args:
        stop: called by the handler.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    forks = this_process.forks

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    handle_signals({signal.SIGTERM: handle})
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is handle and this_process.forks == forks:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _handled.discard(signal.SIGTERM)


def _hold_back() -> None:
    # A signal that arrives before the child has its own handlers would be lost.
    _masked.before = signal.pthread_sigmask(signal.SIG_BLOCK, _handled)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masked.before)


def _handle_as_usual() -> None:
    numbers = tuple(_handled)
    if numbers:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.set_wakeup_fd(-1)
    _handled.clear()
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    _let_through()
    if signal.SIGINT in numbers:
        # Not before: a KeyboardInterrupt in this function would be ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)


os.register_at_fork(
    before=_hold_back, after_in_parent=_let_through, after_in_child=_handle_as_usual
)


def ignore(number: int, frame: FrameType | None) -> None:
    """Ignores a signal.

    Args:
        number: the signal.
        frame: the interrupted stack frame.
    """


def nudge(pid: int) -> None:
    """Lets the other threads of a process run for a moment, where its main thread runs a task in C
    code that keeps the lock of the interpreter, and looks at signals. Does nothing elsewhere.

    Args:
        pid: the id of the process.
    """
    with contextlib.suppress(OSError):  # it has ended
        os.kill(pid, signal.SIGURG)


@contextlib.contextmanager
def signals_held_back(numbers: Sequence[int]) -> Iterator[None]:
    """Blocks signals while a child is forked.

    Otherwise a signal to the child could run the handlers that it inherits from its parent.

    Args:
        numbers: the signals. The child has to unblock them when its own handlers are set.
    """
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def end_with(parent: int) -> None:
    """Makes this process end when its parent does, so that its job returns to the queue.

    Args:
        parent: the process id of the parent.
    """
    if not end_with_still(parent):
        threading.Thread(
            target=_watch, args=(parent,), name="gearmanny parent", daemon=True
        ).start()


def end_with_still(parent: int) -> bool:
    """Repeats `end_with`. The kernel forgets the wish when a process changes its user or group.

    Args:
        parent: the process id of the parent.

    Returns:
        Whether the kernel ends the process: at once, even if a task holds the GIL.
    """
    if sys.platform != "linux" or ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        return False
    if os.getppid() != parent:  # it ended before the call of prctl
        os._exit(1)
    return True


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_INTERVAL)
    os._exit(1)


def ending_forks(function: Callable[P, R]) -> Callable[P, R]:
    """Wraps a function so that a child forked in it ends there, and never returns from it.

    The child ends as a program does: with the exit code of its `SystemExit`, or 1 for another
    exception.

    Args:
        function: the function.

    Returns:
        The wrapped function.
    """

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
    """Ends this process as Python ends a program, with the exception being handled, if any."""
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
