"""What a job server says of itself, asked without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from gearmanny.aio.opening import Conversation, connect
from gearmanny.calling.silence import silent_too, why_silent
from gearmanny.errors import GearmanException, JobServerError, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.net.tls import TLS
from gearmanny.protocol.admin import AdminConnection, parse_status, read_rows

Answer = TypeVar("Answer")


async def explain_silence(host: Host, tls: TLS | None, timeout: float, function: str) -> str:
    """Returns a sentence on why a function did not answer, from what its job server says.

    Args:
        host: the job server that the job was sent to.
        tls: how it is secured.
        timeout: seconds that it may take.
        function: the Gearman function.
    """
    try:
        rows = await _ask(host, tls, timeout, "status", AdminConnection.receive_rows)
        return why_silent(str(host), function, read_rows(parse_status, rows))
    except GearmanException:
        return silent_too(str(host))


async def cancel(host: Host, tls: TLS | None, timeout: float | None, handle: bytes) -> bool:
    """Takes a job from its queue, as `JobServer.cancel` does; returns whether it was known."""
    command = f"cancel job {handle.decode()}"
    try:
        await _ask(host, tls, timeout, command, AdminConnection.receive_line)
    except JobServerError as error:
        if error.code == "UNKNOWN_JOB":
            return False
        raise
    return True


Receive = Callable[[AdminConnection, bytes], Answer | None]


async def _ask(
    host: Host, tls: TLS | None, timeout: float | None, command: str, receive: Receive[Answer]
) -> Answer:
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
