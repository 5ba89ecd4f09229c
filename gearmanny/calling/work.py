"""The base of work objects: the names of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from gearmanny.calling.call import Call
from gearmanny.calling.exchange import L

if TYPE_CHECKING:
    from gearmanny.calling.records import Recorded


class Work(Generic[L]):
    """A job that was sent, as its caller sees it. It has a call, and shows nothing else of it."""

    __slots__ = ("_call",)

    _call: Call[L]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._call}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # The record is found from anywhere; another job only on its connection.
        if self._call.record is None:
            raise TypeError(
                f"Only work objects of recorded jobs can be pickled, and {self.function}() has no "
                "record."
            )
        return type(self)._of_record, (self._call,)

    @classmethod
    def _of_record(cls, call: Call[L]) -> Work[L]:
        """Returns the work object of a recorded job that belongs to no client."""
        raise NotImplementedError

    @property
    def _recorded(self) -> Recorded:
        recorded: Recorded = self._call.recorded  # type: ignore[attr-defined]  # a RecordedCall
        return recorded

    @property
    def function(self) -> str:
        """The Gearman function that was called."""
        return self._call.function

    @property
    def id(self) -> str | None:
        """The id of the record of the job; None for a job without one. Where its key was taken,
        the record is that of the job which has the key."""
        return self._call.record

    @property
    def handle(self) -> bytes | None:
        """The name that the job server gave the job, which its worker knows as `self.job.handle`;
        None until the job server has accepted it, and for a recorded job."""
        return self._call.handle

    @property
    def unique(self) -> str | None:
        """The unique id of the job, by which `client.status()` finds it also after a restart of
        the job server; None for a foreground call without a key. A recorded job has another one
        each time it is handed over to a job server: this is the first."""
        return self._call.unique.decode() or None
