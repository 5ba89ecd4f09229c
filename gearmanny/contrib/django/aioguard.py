"""The guard of `guard.py` for asyncio clients: imported where there are coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gearmanny.aio.connection import AioConnection
from gearmanny.aio.connections import StreamDialer
from gearmanny.contrib.django.guard import check_call, guarded
from gearmanny.net.hosts import Host, Servers

if TYPE_CHECKING:
    from gearmanny.calling.handover import JobHandOver
    from gearmanny.calling.options import CallOptions
    from gearmanny.payload.encoding import Encoder
    from gearmanny.records.contract import HandOver


class AioGuardedDialer(StreamDialer):
    """Makes the connections of the asyncio clients of a project."""

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        return guarded(ordinary)

    async def dial(self, host: Host, servers: Servers, timeout: float) -> AioConnection:
        check_call(host)
        return await super().dial(host, servers, timeout)


AIO_GUARDED = AioGuardedDialer()
