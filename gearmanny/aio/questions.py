"""One question to a job server, asked without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from gearmanny.aio.opening import Conversation, connect
from gearmanny.errors import GearmanException, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.net.tls import TLS
from gearmanny.protocol.admin import AdminConnection

Answer = TypeVar("Answer")


Receive = Callable[[AdminConnection, bytes], Answer | None]


async def ask(
    host: Host, tls: TLS | None, timeout: float | None, command: str, receive: Receive[Answer]
) -> Answer:
    """Returns the answer to a text command.

    Args:
        host: the job server.
        tls: how it is secured; None for a plain connection.
        timeout: seconds that it may take, connecting included; None for as long as it takes.
        command: the command.
        receive: takes what arrives; returns the answer once it is whole.

    Raises:
        JobServerUnavailable: no connection, or no answer in time.
        JobServerLost: the connection ended before the answer was whole.
        JobServerError: the job server refused.
        ProtocolError: the other side is no job server.
    """
    deadline = Deadline(timeout)
    question = _Question(host, tls, receive)
    await connect(question, timeout)
    try:
        async with asyncio.timeout(deadline.remaining()):
            return await question.ask(command)
    except TimeoutError as error:
        reason = f"no answer to {command!r} within {timeout or 0:g} s"
        raise JobServerUnavailable({str(host): reason}) from error
    finally:
        question.transport.abort()


class _Question(Conversation, Generic[Answer]):
    def __init__(self, host: Host, tls: TLS | None, receive: Receive[Answer]) -> None:
        super().__init__(host, tls)
        self._receive = receive
        self._machine = AdminConnection()
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def ask(self, command: str) -> Answer:
        self.transport.write(self._machine.command(command))
        return await self._answer

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        try:
            answer = self._receive(self._machine, data)
        except GearmanException as error:
            self._fail(error)
        else:
            if answer is not None and not self._answer.done():
                self._answer.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(self.lost(error))

    def _fail(self, error: GearmanException) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # nobody may be waiting any longer, and that is no mistake
