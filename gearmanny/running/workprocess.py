"""A process that runs workers, as its parent sees it."""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.connection import Connection

from gearmanny.net.forks import keep_from_children, signals_held_back
from gearmanny.running.childprocess import (
    FINISHED,
    HANDLED_SIGNALS,
    READY,
    Parent,
    Slot,
    run,
)
from gearmanny.running.options import RunnerOptions

_processes = multiprocessing.get_context("fork")


class WorkProcess:
    """A child, as its parent sees it."""

    def __init__(self, slot: Slot, options: RunnerOptions) -> None:
        """Forks it.

        Args:
            slot: what it runs.
            options: how.

        Raises:
            OSError: the system has no room for it.
        """
        self.slot = slot
        self.started = time.monotonic()
        self.ready = False
        """Whether it serves: a job server has answered it, or none of them can be reached."""
        self.recycling = False
        """Whether it asked to be replaced."""
        self.finished = False
        """Whether its workers stopped by themselves. Without that, any end is a crash."""
        self.outdated = False
        """Whether it is to be replaced."""
        self.replaced_since: float | None = None
        """When its replacement was begun, by `time.monotonic`."""
        self.leaving = False
        """Whether it was told to stop."""
        self.kill_at: float | None = None
        """When it has to have stopped, by `time.monotonic`."""
        news, teller = _processes.Pipe(duplex=False)
        self._news: Connection | None = keep_from_children(news)
        self._process = _processes.Process(
            target=run, args=(slot, options, Parent(), teller), name=f"gearmanny {slot}"
        )
        try:
            with signals_held_back(HANDLED_SIGNALS):
                self._process.start()
        except OSError:
            self._news.close()
            raise
        finally:
            teller.close()
        self._end = _end_of(self._process.pid)

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Returns None while it lives; negative is the signal that ended it."""
        return self._process.exitcode

    @property
    def crashed(self) -> bool:
        """Whether it ended in another way than by its workers stopping."""
        return self.exit_code != 0 or not self.finished

    def to_wait_for(self) -> list[Connection | int]:
        """Returns what is readable when it has news or has ended.

        Its end is only known from the process itself: a pipe to it stays open while anything lives
        that it has forked.
        """
        return [each for each in (self._news, self._end) if each is not None]

    @property
    def must_be_asked(self) -> bool:
        """Whether the system cannot tell of its end by itself."""
        return self._end is None

    def hear(self) -> str | None:
        """Takes in what it told; returns the reason when it asks to be replaced."""
        reason = None
        try:
            while self._news is not None and self._news.poll():
                told = self._news.recv_bytes()
                if told == READY:
                    self.ready = True
                elif told == FINISHED:
                    self.finished = True
                else:
                    self.recycling = True
                    reason = told.decode()
        except (EOFError, OSError):
            self._close_news()
        return reason

    def stop(self, grace: float | None) -> None:
        """Lets it finish its job within so many seconds. To be told once."""
        self.leaving = True
        self.kill_at = None if grace is None else time.monotonic() + grace
        self._process.terminate()

    def kill(self) -> None:
        """Ends it; gearmand gives its jobs to other workers."""
        self.leaving = True
        self.kill_at = None
        self._process.kill()

    def close(self) -> None:
        """Waits for its end, and gives back what it held."""
        self._process.join()
        self._process.close()
        self._close_news()
        if self._end is not None:
            os.close(self._end)
            self._end = None

    def _close_news(self) -> None:
        if self._news is not None:
            self._news.close()
            self._news = None


def _end_of(pid: int | None) -> int | None:
    """Returns a descriptor that is readable when a child has ended; None where there is no such
    thing: that is Linux's, since 5.3."""
    try:
        return os.pidfd_open(pid or 0)
    except (AttributeError, OSError):
        return None
