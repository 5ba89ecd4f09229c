"""Making a connection in an event loop: addresses, TLS, deadlines, and the errors in our words."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import cast

from gearmanny.aio.racing import connect_to_any
from gearmanny.errors import JobServerLost, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.forks import keep_from_children
from gearmanny.net.hosts import Host
from gearmanny.net.resolving import UNREACHABLE, Address, Found, addresses_of, look_up
from gearmanny.net.tls import NO_CERTIFICATE, TLS, explained, why_no_handshake
from gearmanny.net.transport import lost, reason_of
from gearmanny.net.vanishing import notice_vanishing


class Conversation(asyncio.Protocol):
    """An asyncio protocol for one connection to a job server."""

    transport: asyncio.Transport

    def __init__(self, host: Host, tls: TLS | None) -> None:
        self.host = host
        self.tls = tls
        self.heard = False
        """Whether the job server ever said anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # Asked for now: a transport of TLS that was closed twice raises an AttributeError.
        self._socket = transport.get_extra_info("socket")
        keep_from_children(self)

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 when it is closed, or there is none."""
        return -1 if self._socket is None else int(self._socket.fileno())

    def data_received(self, data: bytes) -> None:
        self.heard = True

    def lost(self, error: Exception | None) -> JobServerLost:
        """Returns the error of a connection that ended, from that of asyncio."""
        reason = "closed by the job server"
        if error is not None:
            reason = reason_of(_plainly(explained(error)))
            if self.tls and not self.heard and explained(error) is error:
                # asyncio may meet a reset before it has read what the server said.
                reason += f"; perhaps {NO_CERTIFICATE}"
        return lost(self.host, self.tls, reason, heard=self.heard)


async def connect(conversation: Conversation, timeout: float | None) -> None:
    """Connects to a job server.

    Args:
        conversation: told of what arrives. Its `transport` can be used when this returns.
        timeout: seconds after which it counts as unreachable, the handshake of TLS included.

    Raises:
        JobServerUnavailable: it could not be reached in time, or is not to be trusted.
    """
    host, tls, deadline = conversation.host, conversation.tls, Deadline(timeout)
    try:
        async with asyncio.timeout(deadline.remaining()):
            await _open(conversation, host, deadline)
        if tls is not None:
            await _secure(conversation, host, tls, deadline)
    except UNREACHABLE as error:
        reason = "timed out" if isinstance(error, TimeoutError) else reason_of(_plainly(error))
        raise JobServerUnavailable({str(host): reason}) from error


async def _open(conversation: Conversation, host: Host, deadline: Deadline) -> None:
    loop = asyncio.get_running_loop()
    if not host.port:
        await loop.create_unix_connection(lambda: conversation, host.name)
        return
    sock = await connect_to_any(await _addresses(host), deadline)
    try:
        await loop.create_connection(lambda: conversation, sock=sock)
    except BaseException:
        sock.close()
        raise
    notice_vanishing(sock)


async def _addresses(host: Host) -> list[Address]:
    # Not by asyncio, whose threads would keep `asyncio.run` from ending.
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Found] = loop.create_future()

    def settle(found: Found) -> None:
        if not answer.done():
            answer.set_result(found)

    def receive(found: Found) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, found)

    look_up(host, receive)
    return addresses_of(await answer)


async def _secure(conversation: Conversation, host: Host, tls: TLS, deadline: Deadline) -> None:
    plain = conversation.transport
    try:
        context = tls.context_for(host.server_name)
        try:
            async with asyncio.timeout(deadline.remaining()):
                secured = await asyncio.get_running_loop().start_tls(
                    plain, conversation, context, server_hostname=host.server_name
                )
        except OSError as error:
            raise OSError(why_no_handshake(error)) from error
    except BaseException:
        plain.abort()
        raise
    assert secured is not None
    conversation.transport = secured


def _plainly(error: Exception) -> Exception:
    """Returns an error of a system call without what asyncio says instead."""
    number = getattr(error, "errno", None)
    return OSError(number, os.strerror(number)) if number is not None and number > 0 else error
