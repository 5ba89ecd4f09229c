"""Records, as the asyncio client returns them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from gearmanny.aio.walker import WALKER
from gearmanny.calling.records import Recorded, RecordUpdate
from gearmanny.calling.recordvalues import RecordValues
from gearmanny.net.deadline import Deadline


class AioRecord(RecordValues):
    """The record of a background job, as it was read last. Any event loop may use it."""

    __slots__ = ()

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    @classmethod
    async def read(cls, recorded: Recorded) -> AioRecord:
        """Returns a record that is read now."""
        await WALKER.run(recorded.look())
        return cls(recorded)

    async def refresh(self) -> None:
        """Reads the record again.

        Raises:
            UnknownJob: it is not there any more.
            StoreUnavailable: the database cannot be reached.
        """
        await WALKER.run(self._recorded.look())

    async def get_result(self, timeout: float | None = 60) -> Any:
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
        return await WALKER.run(self._recorded.result(Deadline(timeout), timeout))

    def updates(self, timeout: float | None = None) -> AsyncIterator[RecordUpdate]:
        """Yields the state and the progress of the job, and then each change of them, until it has
        ended: `async for update in record.updates()`. Some are skipped where they come fast.

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

    async def cancel(self) -> bool:
        """Cancels the job where it waits; where it runs, asks it to stop.

        Returns:
            Whether it will not run.

        Raises:
            UnknownJob: the record is not there any more.
            StoreUnavailable: the database cannot be reached.
        """
        return await WALKER.run(self._recorded.cancel())

    async def retry(self) -> bool:
        """Queues the job again if it has failed, with its failures forgotten.

        Returns:
            Whether it had failed.

        Raises:
            InvalidOption: another job has its key now.
            UnknownJob: the record is not there any more.
            StoreUnavailable: the database cannot be reached.
        """
        return await WALKER.run(self._recorded.retry())

    # No methods of Django's templates.
    cancel.alters_data = True  # type: ignore[attr-defined]
    retry.alters_data = True  # type: ignore[attr-defined]
