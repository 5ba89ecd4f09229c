"""A call, and what came of it so far: events of the protocol in, values and errors out. No I/O."""

from __future__ import annotations

from typing import Any

from gearmanny.calling.again import Again
from gearmanny.calling.exchange import Exchange, L, Outcome, Watcher
from gearmanny.calling.options import CallOptions
from gearmanny.calling.unread import MOST_UNREAD, Unread
from gearmanny.calling.values import (
    Data,
    Progress,
    Update,
    Warning,
    progress_of,
)
from gearmanny.errors import (
    EncodingError,
    GearmanException,
    InvalidTask,
    JobCancelled,
    JobServerLost,
    TaskError,
)
from gearmanny.payload.encoding import Encoder, decode
from gearmanny.payload.failures import decode_failure, foreign_failure
from gearmanny.payload.sizes import Oversized
from gearmanny.protocol.client import (
    Completed,
    Created,
    DataSent,
    Event,
    Excepted,
    Failed,
    Progressed,
    Rejected,
    Request,
    StatusReceived,
    Warned,
)


class Call(Exchange[L]):
    """A job as its caller sees it."""

    __slots__ = (
        "_encoder",
        "again",
        "cancelled",
        "function",
        "handle",
        "keeps_updates",
        "most_unread",
        "only_part",
        "options",
        "progressed",
        "unique",
        "unread",
        "warned",
        "warned_of_silence",
    )

    record: str | None = None
    """The id of its record; None where it has none."""

    def __init__(
        self,
        line: L,
        function: str,
        encoder: type[Encoder],
        options: CallOptions,
        request: Request | EncodingError,
        *,
        keeps_updates: bool = True,
        most_unread: int | None = None,
        again: Again | None = None,
        watchers: tuple[Watcher, ...] = (),
    ) -> None:
        """
        Args:
            line: the connection that it is about to be queued on.
            function: the Gearman function.
            encoder: makes values of the answer and of updates.
            options: those of the call.
            request: what is sent, or why it cannot be: then the call has failed already.
            keeps_updates: whether updates are kept for somebody to read.
            most_unread: bytes of updates that may wait for their reader, who gets an error when
                there were more; None where the oldest may be dropped instead.
            again: how the job is sent again after a loss; None where it must not be.
            watchers: notified when something comes of it.
        """
        self.line = line
        self.outcome = None
        self.watchers = watchers
        self.function = function
        self._encoder = encoder
        self.options = options
        self.again = again
        self.keeps_updates = keeps_updates
        self.most_unread = most_unread
        """Bytes of updates that may wait for a reader who needs all; None where nobody does."""
        self.unique = b""
        """The unique id, as it travels."""
        if isinstance(request, EncodingError):
            self.outcome = request
        else:
            self.unique = request.unique
        self.cancelled = False
        """Whether the job server was told to forget the job, and did."""
        self.handle: bytes | None = None
        self.warned: Warned | None = None
        """The last warning: it says why, when a failure follows it."""
        self.warned_of_silence = False
        """Whether it was looked whether anybody offers the function."""
        self.only_part: DataSent | None = None
        """The data that was sent ahead of the result; empty if there was more than one part."""
        self.progressed: Progressed | None = None
        """The last progress."""
        self.unread: Unread | None = None
        """Updates that nobody read yet."""

    def __str__(self) -> str:
        state = "waiting" if self.outcome is None else "done"
        if isinstance(self.outcome, Created):
            state = "accepted"  # of a background job, nobody learns more
        handle = self.handle.decode(errors="replace") if self.handle else "no handle yet"
        return f"{self.function} {handle} ({state})"

    @property
    def progress(self) -> Progress | None:
        """The last progress that the worker reported, or None."""
        return progress_of(self.progressed) if self.progressed else None

    @property
    def is_lost(self) -> bool:
        """Whether the job has to be sent again, because its connection ended."""
        again = self.again
        return again is not None and again.lost is not None

    def has_handle(self) -> bool:
        """Returns whether the job server has named the job, or never will."""
        return self.handle is not None or self.outcome is not None

    def has_news(self) -> bool:
        """Returns whether there is an update to be read, or never will be another one."""
        return bool(self.unread) or self.outcome is not None

    def take(self, event: Event) -> None:
        if isinstance(event, Created):
            self.handle = event.handle
            if self.options.background:
                self.outcome = event
            return
        if isinstance(event, (Completed, Failed, Excepted, Rejected, StatusReceived)):
            self.outcome = event
            return
        if isinstance(event, Warned):
            self.warned = event
        elif isinstance(event, Progressed):
            self.progressed = event
        else:
            self.only_part = DataSent(b"") if self.only_part else event
        if self.keeps_updates:
            if self.unread is None:
                self.unread = Unread(self.most_unread or MOST_UNREAD)
            self.unread.put(event)

    def needs_all(self, most: int) -> None:
        """Has all updates kept for a reader to whom a missing one matters.

        Args:
            most: bytes that may wait for the reader, who gets an error when there were more.
        """
        self.most_unread = most
        if self.unread is not None:
            self.unread.keep(most)

    def sent_over(self, line: L) -> None:
        self.line = line
        self.handle = None  # another job server may give that one to another job
        if self.again is not None:
            self.again.lost = None

    def lose(self, error: GearmanException) -> None:
        again, lost = self.again, isinstance(error, JobServerLost) and not self.line.given_up
        if again is None or not lost or self.is_answered():
            super().lose(error)
        elif again.lost is None:
            if again.is_hopeless:
                super().lose(error)
                return
            self.handle = None
            again.lose(error, self.line.host)
            self.notify()

    def settle(self, outcome: Outcome) -> None:
        self.again = None
        super().settle(outcome)

    def forget(self) -> None:
        """Keeps nothing that may still come, and does not send the job again: nobody will ask
        for it."""
        self.keeps_updates = False
        self.unread = None
        self.again = None

    def value(self) -> Any:
        """Returns what the task returned, once there is an outcome; raises what the job ended with.

        Raises:
            TaskError: the task failed on its worker.
            JobCancelled: the job was taken from its queue.
            JobServerLost: the connection ended.
            JobServerUnavailable: it was to be sent again, and no job server could be reached.
            JobServerError: the job server refused the job.
            EncodingError: the arguments could not be encoded, or the answer cannot be decoded.
        """
        outcome = self.outcome
        if isinstance(outcome, Completed):
            return self.decode(outcome.data)
        if isinstance(outcome, Created):
            return None  # a background job, accepted
        raise self.failure() or self._end_of_the_job()

    def exception(self) -> Exception | None:
        """Returns what `value` raises, once there is an outcome; None where it returns."""
        try:
            self.value()
        except Exception as error:
            return error.with_traceback(None)  # whose frames would keep the payload
        return None

    def decode(self, payload: bytes) -> Any:
        """Returns the value that a payload of this call stands for.

        Raises:
            EncodingError: the encoder refuses it.
        """
        return decode(self._encoder, payload)

    def _end_of_the_job(self) -> GearmanException:
        if self.cancelled:
            return JobCancelled(self.function)
        # A failure is preceded by a warning that says why, an exception says it itself. The
        # `gearman` command sends what the program printed before it failed, as one part.
        reason = (
            self.outcome if isinstance(self.outcome, Excepted) else self.warned or self.only_part
        )
        if reason is None:
            return TaskError(self.function)
        return decode_failure(self.function, reason.data) or foreign_failure(
            self.function, reason.data
        )

    def rest_of_stream(self, sent_ahead: bool) -> list[Any]:
        """Returns what is still to be yielded of a stream once there is an outcome.

        Args:
            sent_ahead: whether parts of the result came before. They are all of it then: a
                generator task returns them once more, for those who do not read streams.

        Raises:
            InvalidTask: there were none, and the result is neither a list nor bytes.
            TaskError: the task failed; and the other errors that `value` raises.
        """
        if sent_ahead and isinstance(self.outcome, Completed):
            return []
        result = self.value()
        if isinstance(result, list):
            return result
        if result is None or result == b"":
            return []
        if isinstance(result, bytes):
            return [result]
        raise InvalidTask(
            f"{self.function}() is no stream: it sent nothing ahead, and its result is no list "
            f"but {type(result).__name__}. Call it without stream()."
        )

    def take_update(self) -> Update | None:
        """Returns the oldest update that nobody read yet; None where there is none, or it is not
        for users.

        Raises:
            EncodingError: it cannot be decoded, or too many waited and some were dropped. A warning
                that cannot be decoded is text.
        """
        unread = self.unread
        if unread is not None and unread.dropped:
            dropped, unread.dropped = unread.dropped, 0
            text = f"{dropped} updates of {self.function}() were dropped, because nobody read them"
            if self.most_unread is not None:
                raise EncodingError(
                    f"{text}. Read them faster, or raise max_packet, which is {self.most_unread} "
                    "bytes on this side."
                )
            return Warning(text)
        update = unread.take() if unread else None
        if update is None:
            return None
        if isinstance(update, Progressed):
            return progress_of(update)
        if isinstance(update, DataSent):
            return Data(self.decode(update.data))
        if decode_failure(self.function, update.data):
            return None  # how the job ended, which `value` says
        return Warning(self._warning(update.data))

    def _warning(self, payload: bytes) -> Any:
        try:
            return self.decode(payload)
        except EncodingError:
            if isinstance(payload, Oversized):
                raise
            return payload.decode(errors="replace")  # workers in other languages warn in words
