"""The part of the asyncio client that is about records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gearmanny.aio.connection import AioConnection
from gearmanny.aio.driver import AioDriver
from gearmanny.calling.call import Call
from gearmanny.calling.caller import Caller
from gearmanny.errors import EncodingError

if TYPE_CHECKING:
    from gearmanny.aio.records import AioRecord
    from gearmanny.aio.schedules import AioSchedules
    from gearmanny.records.contract import HandOver


class RecordedJobs(Caller):
    """The base of `AioClient`."""

    _driver: AioDriver

    @property
    def schedules(self) -> AioSchedules:
        """The schedules in the store of this client. Its methods are awaited.

        Raises:
            InvalidOption: the client has no `records`.
        """
        from gearmanny.aio.schedules import AioSchedules  # noqa: PLC0415
        from gearmanny.calling.schedules import Schedules  # noqa: PLC0415

        store = None if self._recorder is None else self._recorder.store
        return AioSchedules(Schedules(store, self._encoder))

    async def record(self, id: str) -> AioRecord:
        """Returns the record of a background job, from anywhere.

        Args:
            id: `work.id` of its caller.

        Raises:
            UnknownJob: there is no record with this id.
            StoreUnavailable: the database cannot be reached.
            InvalidOption: the client has no records, or the id is no UUID.
        """
        from gearmanny.aio.records import AioRecord  # noqa: PLC0415  clients with records alone

        return await AioRecord.read(self._records().find(id, self._encoder))

    async def _record(
        self, function: str, payloads: Iterable[bytes | EncodingError], hand_over: HandOver
    ) -> list[Call[AioConnection]]:
        assert self._recorder is not None
        return await self._driver.run(
            self._recorder.record(function, payloads, self._encoder, self._options, hand_over)
        )
