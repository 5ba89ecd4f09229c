"""The base of the records that clients return: their values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gearmanny.calling.records import Recorded, progress_of
from gearmanny.calling.values import Progress
from gearmanny.errors import JobCancelled, TaskError
from gearmanny.payload.headers import Headers, decode_headers
from gearmanny.records.states import State
from gearmanny.records.values import Snapshot


class RecordValues:
    """A record, as it was read last."""

    __slots__ = ("_recorded",)

    _recorded: Recorded

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} of {self.function}: {self.state}>"

    @property
    def _snapshot(self) -> Snapshot:
        assert self._recorded.snapshot is not None  # it was read before
        return self._recorded.snapshot

    @property
    def id(self) -> str:
        """The id of the record, which is `work.id` of its caller."""
        return self._recorded.id

    @property
    def function(self) -> str:
        """The Gearman function."""
        return self._snapshot.function

    @property
    def state(self) -> State:
        """The state: `"queued"`, `"running"`, `"succeeded"`, `"failed"` or `"cancelled"`."""
        return self._snapshot.state

    @property
    def arguments(self) -> Any:
        """The arguments; None where they were forgotten.

        Raises:
            EncodingError: the encoder of the client cannot decode them.
        """
        return self._recorded.decoded(self._snapshot.arguments)

    @property
    def result(self) -> Any:
        """What the task returned; None unless the job has succeeded.

        Raises:
            EncodingError: the encoder of the client cannot decode it.
        """
        return self._recorded.decoded(self._snapshot.result)

    @property
    def error(self) -> TaskError | JobCancelled | None:
        """The exception that `get_result()` raises; before the end of the job, the failure of its
        last attempt. None where there was none."""
        return self._recorded.error(self._snapshot)

    @property
    def headers(self) -> Headers:
        """The headers that its caller sent with it, as `using(headers=…)` and the client say."""
        return decode_headers(self._snapshot.headers)

    @property
    def attempts(self) -> int:
        """How often a worker has begun it."""
        return self._snapshot.attempts

    @property
    def progress(self) -> Progress | None:
        """The last progress that the task reported, or None."""
        return progress_of(self._snapshot)

    @property
    def process(self) -> str | None:
        """The id of the process that runs it, or ran it last."""
        return self._snapshot.process

    @property
    def created(self) -> datetime:
        """The time at which it was recorded. All times are those of the database, in UTC."""
        return self._snapshot.created

    @property
    def due(self) -> datetime:
        """The time from which it may run."""
        return self._snapshot.due

    @property
    def started(self) -> datetime | None:
        """The time at which its last attempt began."""
        return self._snapshot.started

    @property
    def finished(self) -> datetime | None:
        """The time at which it ended."""
        return self._snapshot.finished
