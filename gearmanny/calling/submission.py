"""What came of a call so far: events of the protocol in, values and errors out. No I/O."""

from __future__ import annotations

import enum
import math
from collections import deque
from copy import copy
from typing import Any, NamedTuple

from gearmanny.errors import (
    EncodingError,
    GearmanException,
    InvalidTask,
    JobCancelled,
    JobServerError,
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
    Told,
    Warned,
)

Outcome = Created | Completed | Failed | Excepted | Rejected | Told | GearmanException
UpdateEvent = DataSent | Warned | Progressed


class Progress(NamedTuple):
    """The worker told how far it is."""

    done: float
    total: float

    @property
    def fraction(self) -> float | None:
        """From 0 to 1; None when the total is not known."""
        return min(1.0, self.done / self.total) if self.total > 0 else None


class Data(NamedTuple):
    """The worker sent a part of its result ahead."""

    value: Any


class Warning(NamedTuple):
    """The worker sent a warning."""

    value: Any


class JobState(enum.StrEnum):
    """What a job server knows of a job."""

    QUEUED = "queued"
    """It waits for a worker, or for its time."""
    RUNNING = "running"
    """A worker has taken it."""
    UNKNOWN = "unknown"
    """It is done, or has failed, or never was: job servers keep no history."""


class JobStatus(NamedTuple):
    """The answer of a job server that was asked for a job."""

    state: JobState
    progress: Progress | None = None
    """The last progress that its worker told."""


class Submission:
    """A job as its caller sees it: what came of it so far."""

    __slots__ = (
        "_encoder",
        "background",
        "cancelled",
        "function",
        "handle",
        "keeps_updates",
        "only_part",
        "outcome",
        "progressed",
        "unread",
        "warned",
    )

    def __init__(self, function: str, encoder: type[Encoder]) -> None:
        self.function = function
        self._encoder = encoder
        self.background = False
        """Whether the job is ours no longer once the job server has accepted it."""
        self.cancelled = False
        """Whether the job server was told to forget the job, and did."""
        self.handle: bytes | None = None
        self.keeps_updates = True
        """Whether updates are kept for somebody to read."""
        self.outcome: Outcome | None = None
        self.warned: Warned | None = None
        """The last warning: it says why, when a failure follows it."""
        self.only_part: DataSent | None = None
        """What was sent ahead; without data, when there was more than one part."""
        self.progressed: Progressed | None = None
        """The last progress."""
        self.unread: deque[UpdateEvent] | None = None
        """Updates that nobody read yet."""

    def __repr__(self) -> str:
        state = "done" if self.outcome is not None else "waiting"
        handle = self.handle.decode(errors="replace") if self.handle else "no handle yet"
        return f"<{type(self).__name__} {self.function} {handle} ({state})>"

    @property
    def last_progress(self) -> Progress | None:
        """The last progress that the worker told, or None."""
        return _progress(self.progressed) if self.progressed else None

    def is_answered(self) -> bool:
        """Returns whether there is an outcome."""
        return self.outcome is not None

    def has_handle(self) -> bool:
        """Returns whether the job server has named the job, or never will."""
        return self.handle is not None or self.outcome is not None

    def has_news(self) -> bool:
        """Returns whether there is an update to be read, or never will be another one."""
        return bool(self.unread) or self.outcome is not None

    def take(self, event: Event) -> None:
        """Keeps what an event tells."""
        if isinstance(event, Created):
            self.handle = event.handle
            if self.background:
                self.outcome = event
            return
        if isinstance(event, (Completed, Failed, Excepted, Rejected, Told)):
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
                self.unread = deque()
            self.unread.append(event)

    def drop_updates(self) -> None:
        """Keeps no updates any longer: nobody will read them."""
        self.keeps_updates = False
        self.unread = None

    def value(self) -> Any:
        """Returns what the task returned, once there is an outcome; raises what the job ended with.

        Raises:
            TaskError, JobCancelled, JobServerLost, JobServerError, EncodingError: see
                `SimpleClient.call`.
        """
        outcome = self.outcome
        if isinstance(outcome, Completed):
            return decode(self._encoder, outcome.data)
        if isinstance(outcome, Created):
            return None  # a background job, accepted
        if isinstance(outcome, Told):
            return _status(outcome)
        if isinstance(outcome, Rejected):
            raise JobServerError(
                outcome.code.decode(errors="replace"), outcome.text.decode(errors="replace")
            )
        if isinstance(outcome, GearmanException):
            # A new one each time: raising the same object again would pile up tracebacks in it.
            raise copy(outcome)
        if self.cancelled:
            raise JobCancelled(self.function)
        raise self._failure()

    def _failure(self) -> TaskError:
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
            InvalidTask: there were none, and the result is no list, or bytes.
            What `value` raises.
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

    def next_update(self) -> Progress | Data | Warning | None:
        """Returns the oldest update that nobody read yet; None when it is none for users.

        Raises:
            EncodingError: it cannot be decoded. A warning is text then.
        """
        assert self.unread
        update = self.unread.popleft()
        if isinstance(update, Progressed):
            return _progress(update)
        if isinstance(update, DataSent):
            return Data(decode(self._encoder, update.data))
        if decode_failure(self.function, update.data):
            return None  # how the job ended, told by get_result()
        return Warning(self._warning(update.data))

    def _warning(self, payload: bytes) -> Any:
        try:
            return decode(self._encoder, payload)
        except EncodingError:
            if isinstance(payload, Oversized):
                raise
            return payload.decode(errors="replace")  # workers in other languages warn in words


def _status(told: Told) -> JobStatus:
    if not told.known:
        return JobStatus(JobState.UNKNOWN)
    progress = _progress(told)
    # A job server that was told of none answers with zeros.
    if progress is not None and progress == (0, 0):
        progress = None
    return JobStatus(JobState.RUNNING if told.running else JobState.QUEUED, progress)


def _progress(event: Progressed | Told) -> Progress | None:
    """Any worker may send any text: what is no number is no progress."""
    try:
        return Progress(_number(event.done), _number(event.total))
    except ValueError:
        return None


def _number(text: bytes) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no progress")
    return int(number) if number.is_integer() else number
