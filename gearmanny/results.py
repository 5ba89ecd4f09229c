"""The work object: what came of a call, and what comes of it while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gearmanny.channel import Channel, ChannelSubmission, Group
from gearmanny.errors import JobServerLost, TaskTimeout
from gearmanny.gearman_api import DataEncoder
from gearmanny.resending import Resending
from gearmanny.submission import Data, Progress, Warning
from gearmanny.transport import Deadline

__all__ = ["Answer", "Data", "Progress", "Warning", "WorkResult", "as_completed", "wait"]

_ASK_WHY_TIMEOUT = 1.0
"""Seconds that a timeout may take longer, to tell whether any worker offers the function."""

_TURN = 0.02
"""Seconds for which one of several connections is read, when any of them may bring an answer."""


class WorkResult(ChannelSubmission):
    """A job that was sent. May be waited for from any thread, any number of times."""

    __slots__ = ("resending",)

    def __init__(self, channel: Channel, function: str, encoder: type[DataEncoder]) -> None:
        super().__init__(channel, function, encoder)
        self.resending: Resending | None = None
        """How to send an idempotent job again."""

    def is_done(self) -> bool:
        """Returns whether there is an answer, good or bad. Never waits for one."""
        if self.outcome is None:
            self.channel.poll()
        return self._has_ended(Deadline(0))

    def get_result(self, timeout: float | None = 60) -> Any:
        """Returns what the task returned. May be called again.

        A background job has no answer: this returns None once the job server has accepted it.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            TaskError: the task failed on its worker.
            TaskTimeout: no answer in time. The job may still run, and may still be waited for.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            EncodingError: the answer cannot be decoded.
            InvalidOption: the timeout is no number of seconds.
        """
        self._wait(self._is_answered, Deadline(timeout), timeout)
        return self.value()

    @property
    def progress(self) -> Progress | None:
        """The last progress that the worker told, or None. Never waits."""
        if self.outcome is None:
            self.channel.poll()
        return self.last_progress

    def updates(self, timeout: float | None = None) -> Iterator[Progress | Data | Warning]:
        """Yields what the worker sends while the job runs, in its order, until the job ends.

        Every update is given out once. How the job ended, `get_result()` tells.

        Args:
            timeout: seconds for the whole job to end; None waits for as long as it takes.

        Raises:
            TaskTimeout: the job did not end in time.
            EncodingError: an update cannot be decoded.
            InvalidOption: the timeout is no number of seconds.
        """
        deadline = Deadline(timeout)
        while True:
            self._wait(self._has_news, deadline, timeout)
            if not self.unread:
                return
            update = self.next_update()
            if update is not None:
                yield update

    def _is_answered(self) -> bool:
        return self.outcome is not None

    def _has_ended(self, deadline: Deadline) -> bool:
        """Returns whether this is over. An idempotent job that was lost is sent again."""
        if self.resending and isinstance(self.outcome, JobServerLost):
            self.resending.send_again(self, deadline)
        return self.outcome is not None

    def _has_news(self) -> bool:
        return bool(self.unread) or self.outcome is not None

    def _wait_until(self, ready: Callable[[], bool], deadline: Deadline) -> bool:
        while self.channel.wait(self, ready, deadline):
            if self._has_ended(deadline) or ready():
                return True
        return False

    def _wait(self, ready: Callable[[], bool], deadline: Deadline, timeout: float | None) -> None:
        if self._wait_until(ready, deadline):
            return
        assert timeout is not None  # only a deadline ends a wait without an answer
        if timeout == 0:  # a look, not a wait: not worth a question to the server
            raise TaskTimeout(self.function, timeout)
        from gearmanny.admin import JobServer, explain_silence  # noqa: PLC0415  few ever need it

        server = JobServer(str(self.channel.host), _ASK_WHY_TIMEOUT, tls=self.channel.tls)
        raise TaskTimeout(self.function, timeout, explain_silence(server, self.function))


class Answer(WorkResult):
    """A `WorkResult` that nobody sees: updates are dropped."""

    __slots__ = ()

    keeps_updates = False


def as_completed(
    results: Iterable[WorkResult], timeout: float | None = None
) -> Iterator[WorkResult]:
    """Yields work objects as their jobs end, whoever ends first.

    Args:
        results: the work objects.
        timeout: seconds for all of them; None waits for as long as they take.

    Raises:
        TimeoutError: some did not end in time.
    """
    deadline = Deadline(timeout)
    group = Group()
    pending = set(results)
    channels = {work.channel for work in pending}
    for work in pending:
        work.channel.watch(work, group)
    while pending:
        while not group.ended:
            if not _wait_for_any(group, channels, deadline):
                raise TimeoutError(f"{len(pending)} jobs did not end within {timeout} s.")
        ended = group.ended.popleft()
        assert isinstance(ended, WorkResult)
        if not ended._has_ended(deadline):  # sent again
            ended.channel.watch(ended, group)
            channels = {work.channel for work in pending}
            continue
        pending.discard(ended)
        yield ended


def wait(
    results: Iterable[WorkResult], timeout: float | None = None
) -> tuple[set[WorkResult], set[WorkResult]]:
    """Waits until all jobs have ended, or the time is over.

    Args:
        results: the work objects.
        timeout: seconds to wait; None waits for as long as they take.

    Returns:
        The work objects that are done, and those that are not.
    """
    deadline = Deadline(timeout)
    pending = set(results)
    done = set()
    for work in list(pending):
        if work._wait_until(work._is_answered, deadline):
            pending.discard(work)
            done.add(work)
    return done, pending


def _wait_for_any(group: Group, channels: set[Channel], deadline: Deadline) -> bool:
    """Waits until one of a group has ended; returns whether that was before the deadline."""
    if len(channels) == 1:
        (channel,) = channels
        return channel.wait(group, lambda: group.ended, deadline)
    while not group.ended and deadline.remaining() != 0:
        # A thread reads one connection at a time, so it goes round.
        for channel in channels:
            channel.wait(group, lambda: group.ended, Deadline(_TURN))
    return bool(group.ended)
