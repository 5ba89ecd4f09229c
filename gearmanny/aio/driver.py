"""Carries out the steps of calls in an event loop."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from gearmanny.aio.connection import AioConnection, wait
from gearmanny.aio.connections import AioConnections
from gearmanny.aio.questions import ask
from gearmanny.aio.walker import AioWalker
from gearmanny.calling import waiting
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Exchange
from gearmanny.calling.resending import send_again
from gearmanny.calling.steps import Ask, Avoid, Command, Look, Reach, Send, Step, Tell, Wait
from gearmanny.errors import GearmanException, JobServerLost
from gearmanny.net.deadline import NEVER, Deadline


class AioDriver(AioWalker):
    """Carries out the steps of the calls of one client, for any number of tasks of its loop."""

    def __init__(self, connections: AioConnections) -> None:
        self.connections = connections

    async def result(self, call: Call[AioConnection], timeout: float | None) -> Any:
        """Returns what a task returned, or raises what its job ended with."""
        deadline = Deadline(waiting.UNSERVED if timeout is None else timeout)
        if call.options.on_update is None:
            if await wait(call, call.is_answered, deadline):
                return call.value()
            if timeout is None:
                await self.run(waiting.warn_if_unserved(call))
        if timeout is None:
            deadline = NEVER
        return await self.run(waiting.result(call, deadline, timeout))

    def notice(self, exchange: Exchange[Any]) -> None:
        """Sends the job of a call again when it was lost. Nobody has to wait for it."""
        if isinstance(exchange, Call) and exchange.is_lost:
            task = self.connections.start(self.run(send_again(exchange, NEVER)))
            task.add_done_callback(lambda task: _settle(exchange, task))

    async def _carry_out(self, step: Step) -> Any:
        match step:
            case Wait(call, ready, deadline):
                return await wait(call, ready, deadline)
            case Look():
                return None  # the event loop takes in what arrives
            case Reach(hosts, deadline):
                return await self.connections.reach(hosts, deadline)
            case Send(call, line, deadline):
                connection: Any = line
                await connection.drain(deadline)
                assert call.again is not None
                return connection.queue(call, call.again.request)
            case Ask(question, job, by_unique, deadline):
                question.line.ask(question, job, by_unique=by_unique)
                return await wait(question, question.is_answered, deadline)
            case Command(host, tls, command, receive, timeout):
                return await ask(host, tls, timeout, command, receive)
            case Avoid(host):
                return self.connections.pool.avoid(host)
            case Tell(on_update, update):
                told = on_update(update)
                return await told if inspect.isawaitable(told) else told
        return await super()._carry_out(step)


def _settle(call: Call[AioConnection], task: asyncio.Task[bool]) -> None:
    if task.cancelled():
        call.settle(JobServerLost(str(call.line.host), "closed by this client"))
    elif isinstance(error := task.exception(), GearmanException):
        call.settle(error)
