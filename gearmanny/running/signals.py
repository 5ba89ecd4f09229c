"""Signals to a runner, which become calls of its supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from gearmanny.running.stacks import SIGNAL
from gearmanny.running.supervisor import Supervisor


class Terminal:
    """The terminal that this process was started in, if any."""

    def __init__(self) -> None:
        self._descriptors = [descriptor for descriptor in range(3) if os.isatty(descriptor)]

    def is_closed(self) -> bool:
        """Returns whether there was one that is gone."""
        return bool(self._descriptors) and not any(map(os.isatty, self._descriptors))


@contextlib.contextmanager
def handled_signals(supervisor: Supervisor) -> Iterator[None]:
    """Handles SIGTERM, SIGINT, SIGHUP and SIGUSR1 until the block ends, if this is the main thread.

    Args:
        supervisor: is stopped by SIGTERM, SIGINT, and SIGHUP after its terminal was closed; any
            other SIGHUP restarts it. Where SIGHUP is ignored, as under `nohup`, it stays so.
            SIGUSR1 has it dump stacks, unless the program has a handler of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminal = Terminal()

    def stop(number: int, frame: FrameType | None) -> None:
        supervisor.stop()

    def hang_up(number: int, frame: FrameType | None) -> None:
        if terminal.is_closed():
            supervisor.stop()
        else:
            supervisor.restart()

    def dump(number: int, frame: FrameType | None) -> None:
        supervisor.dump_stacks()

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
    }
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = hang_up
    if signal.getsignal(SIGNAL) is signal.SIG_DFL:
        handlers[SIGNAL] = dump
        supervisor.dumps_stacks = True
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
