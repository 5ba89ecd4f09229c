"""Records, as the blocking clients return them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gearmanny.blocking.walker import WALKER
from gearmanny.calling.records import Recorded, RecordUpdate
from gearmanny.calling.recordvalues import RecordValues
from gearmanny.net.deadline import Deadline


class Record(RecordValues):
    """The record of a background job, as it was read last. Any thread may use it."""

    __slots__ = ()

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    def refresh(self) -> None:
        """Reads the record again.

        Raises:
            UnknownJob: it is not there any more.
            StoreUnavailable: the database cannot be reached.
        """
        WALKER.run(self._recorded.look())

    def get_result(self, timeout: float | None = 60) -> Any:
        """Waits for the end of the job, and returns what the task returned. May be called again.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            TaskError: the task failed on its worker.
            JobCancelled: the job was cancelled.
            TaskTimeout: it did not end in time. It may still run, and may still be waited for.
            EncodingError: the result cannot be decoded.
            UnknownJob: the record is not there any more.
            StoreUnavailable: the database cannot be reached. A wait that has begun goes on for
                up to a minute while it is away.
            GearmanException: the end cannot be seen in the transaction that is open here.
            InvalidOption: the timeout is not a number of seconds.
        """
        return WALKER.run(self._recorded.result(Deadline(timeout), timeout))

    def updates(self, timeout: float | None = None) -> Iterator[RecordUpdate]:
        """Yields the state and the progress of the job, and then each change of them, until it has
        ended. Where changes follow each other fast, some are skipped.

        Args:
            timeout: seconds for the job to end; None waits for as long as it takes.

        Raises:
            TaskTimeout: it did not end in time.
            UnknownJob: the record is not there any more.
            StoreUnavailable: the database cannot be reached. A wait that has begun goes on for
                up to a minute while it is away.
            GearmanException: the end cannot be seen in the transaction that is open here.
            InvalidOption: the timeout is not a number of seconds.
        """
        return WALKER.iterate(self._recorded.updates(Deadline(timeout), timeout))

    def cancel(self) -> bool:
        """Cancels the job where it waits; where it runs, asks it to stop.

        Returns:
            Whether it will not run.

        Raises:
            UnknownJob: the record is not there any more.
            StoreUnavailable: the database cannot be reached.
        """
        return WALKER.run(self._recorded.cancel())

    def retry(self) -> bool:
        """Queues the job again if it has failed, with its failures forgotten.

        Returns:
            Whether it had failed.

        Raises:
            InvalidOption: another job has its key now.
            UnknownJob: the record is not there any more.
            StoreUnavailable: the database cannot be reached.
        """
        return WALKER.run(self._recorded.retry())

    # No methods of Django's templates.
    cancel.alters_data = True  # type: ignore[attr-defined]
    retry.alters_data = True  # type: ignore[attr-defined]
