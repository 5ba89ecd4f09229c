"""Sending an idempotent job of the asyncio client again when its connection was lost."""

from __future__ import annotations

import asyncio

from gearmanny.aio.connection import AioSubmission
from gearmanny.aio.connections import AioConnections
from gearmanny.calling.again import new_backoff
from gearmanny.calling.options import CallOptions
from gearmanny.errors import JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.protocol.client import Request


class Resending:
    """What it takes to send an idempotent job again. Nobody has to wait for it."""

    def __init__(self, connections: AioConnections, request: Request, options: CallOptions) -> None:
        self.wanted = True
        """Whether anybody may still ask what came of the job."""
        self._connections = connections
        self._request = request
        self._options = options
        # Goes on over all losses: a job server that ends every connection must not keep us busy.
        self._backoff = new_backoff()

    async def send_again(self, work: AioSubmission) -> None:
        """Sends a job whose connection was lost again, to a job server that is up.

        Raises:
            JobServerUnavailable: none came back within the time that connecting may take.
        """
        patience = Deadline(self._connections.servers.connect_timeout)
        while self.wanted:
            await asyncio.sleep(self._backoff.next_delay())
            try:
                connection = await self._connections.connection(self._options)
                await connection.drain(patience)
            except JobServerUnavailable:
                if patience.remaining() == 0:
                    raise
                continue
            if connection.queue(work, self._request):
                return
