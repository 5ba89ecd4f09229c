"""The guard of `guard.py` for asyncio clients: imported where there are coroutines."""

from __future__ import annotations

from gearmanny.aio.connection import AioConnection
from gearmanny.aio.connections import StreamDialer
from gearmanny.contrib.django.guard import check_call
from gearmanny.net.hosts import Host, Servers


class AioGuardedDialer(StreamDialer):
    """Makes the connections of the asyncio clients of a project."""

    def check(self, host: Host) -> None:
        check_call(host)

    async def dial(self, host: Host, servers: Servers, timeout: float) -> AioConnection:
        self.check(host)
        return await super().dial(host, servers, timeout)


AIO_GUARDED = AioGuardedDialer()
