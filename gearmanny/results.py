"""The work object: what came of a call, and what comes of it while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gearmanny.admin import JobServer
from gearmanny.blocking.channel import Channel, ChannelSubmission, Group
from gearmanny.blocking.connections import Connections
from gearmanny.blocking.inquiries import explain_silence, status_by_handle, status_by_unique
from gearmanny.blocking.resending import Resending
from gearmanny.calling.submission import Data, JobState, JobStatus, Progress, Warning
from gearmanny.errors import JobServerLost, TaskTimeout
from gearmanny.net.deadline import Deadline
from gearmanny.payload.encoding import Encoder

__all__ = ["Data", "Progress", "Warning", "WorkResult", "as_completed", "wait"]

_ASK_WHY_TIMEOUT = 1.0
"""Seconds that a timeout may take longer, to tell whether any worker offers the function."""

_TURN = 0.02
"""Seconds for which one of several connections is read, when any of them may bring an answer."""


UpdateCallback = Callable[[Progress | Data | Warning], object]


class WorkResult(ChannelSubmission):
    """A job that was sent. May be waited for from any thread, any number of times."""

    __slots__ = ("_connections", "on_update", "resending", "unique_id")

    def __init__(
        self,
        connections: Connections,
        channel: Channel,
        function: str,
        encoder: type[Encoder],
    ) -> None:
        super().__init__(channel, function, encoder)
        self._connections = connections
        self.on_update: UpdateCallback | None = None
        """Called with every update by who waits for the result."""
        self.resending: Resending | None = None
        """How to send an idempotent job again."""
        self.unique_id = b""
        """As it travels."""

    @property
    def unique(self) -> str | None:
        """The unique id of the job, by which `client.status()` finds it also after a restart of
        the job server; None for a foreground call without a key."""
        return self.unique_id.decode() or None

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
            JobCancelled: `cancel()` took it from its queue.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerError: the job server refused the job.
            EncodingError: the answer, or an update for `on_update`, cannot be decoded.
            InvalidOption: the timeout is no number of seconds.
            What `on_update` raises.
        """
        deadline = Deadline(timeout)
        if self.on_update is not None:
            for update in self._updates(deadline, timeout):
                self.on_update(update)
        self._wait(self.is_answered, deadline, timeout)
        return self.value()

    def exception(self, timeout: float | None = 60) -> Exception | None:
        """Returns what `get_result()` would raise of the job's end; None when it ended well.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            TaskTimeout: no answer in time. The job may still run, and may still be waited for.
            InvalidOption: the timeout is no number of seconds.
        """
        self._wait(self.is_answered, Deadline(timeout), timeout)
        try:
            self.value()
        except Exception as error:
            return error
        return None

    def status(self, timeout: float | None = 60) -> JobStatus:
        """Asks the job server for the job: whether it waits, runs, or is unknown by now.

        A background job is found by its unique id, also after a restart of its job server; any
        other one only on the connection that it was sent on.

        Args:
            timeout: seconds to wait for the answer; None waits for as long as it takes.

        Raises:
            TaskTimeout: no answer in time.
            JobServerUnavailable: the job server of the job cannot be reached.
            JobServerLost: the connection ended before the answer came.
            JobServerError: the job server refused the job.
            InvalidOption: the timeout is no number of seconds.
        """
        deadline = Deadline(timeout)
        if self.cancelled:  # gearmand 1.1.20 lists it until a worker asks for its function
            return JobStatus(JobState.UNKNOWN)
        if self.background:
            channel = self._connections.channel_to(self.channel.host)
            return status_by_unique(channel, self.unique_id, deadline)
        handle = self._await_handle(deadline, timeout)
        if handle is None or self.outcome is not None:
            return JobStatus(JobState.UNKNOWN)
        return status_by_handle(self.channel, handle, deadline)

    def cancel(self, timeout: float | None = 60) -> bool:
        """Takes the job from its queue, when no worker has it yet. Nothing stops a job that runs:
        the protocol has no way to.

        Args:
            timeout: seconds to wait for the job server; None waits for as long as it takes.

        With a `unique` key, all its callers lose the job; gearmand 1.1.20 lets new calls with
        that key join it, and be lost with it, until a worker asks for the function again.

        Returns:
            Whether the job will not run. Then `get_result()` raises `JobCancelled`. False when
            it runs, or is over. A worker that took it in the very moment runs it without a
            caller: `get_result()` raises a `TaskError` then.

        Raises:
            What `status` raises. JobServerLost also where the connection has ended on which a
                background job was sent: its handle may name another job by now.
        """
        deadline = Deadline(timeout)
        handle = self._await_handle(deadline, timeout)
        if self.cancelled:
            return True
        if handle is None or (self.outcome is not None and not self.background):
            return False
        if status_by_handle(self.channel, handle, deadline).state is not JobState.QUEUED:
            return False
        self.cancelled = True  # who waits is told before we are
        known = self._job_server(deadline.remaining()).cancel(handle)
        after = status_by_handle(self.channel, handle, deadline).state
        self.cancelled = known and after is not JobState.RUNNING
        return self.cancelled

    def _await_handle(self, deadline: Deadline, timeout: float | None) -> bytes | None:
        """Returns the handle of the job; None when its submission failed."""
        self._wait(self.has_handle, deadline, timeout)
        return self.handle

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
        return self._updates(Deadline(timeout), timeout)

    def _updates(
        self, deadline: Deadline, timeout: float | None
    ) -> Iterator[Progress | Data | Warning]:
        while True:
            self._wait(self.has_news, deadline, timeout)
            if not self.unread:
                return
            update = self.next_update()
            if update is not None:
                yield update

    def _has_ended(self, deadline: Deadline) -> bool:
        """Returns whether this is over. An idempotent job that was lost is sent again."""
        if self.resending and isinstance(self.outcome, JobServerLost):
            self.resending.send_again(self, deadline)
        return self.outcome is not None

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
        server = self._job_server(_ASK_WHY_TIMEOUT)
        raise TaskTimeout(self.function, timeout, explain_silence(server, self.function))

    def _job_server(self, timeout: float | None) -> JobServer:
        return JobServer(str(self.channel.host), timeout, tls=self.channel.tls)


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
        if work._wait_until(work.is_answered, deadline):
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
