"""Carries out the steps of calls in an event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, assert_never

from gearmanny.aio.connection import AioConnection, wait
from gearmanny.aio.connections import AioConnections
from gearmanny.aio.questions import ask
from gearmanny.calling import waiting
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Exchange
from gearmanny.calling.resending import send_again
from gearmanny.calling.steps import (
    Ask,
    Avoid,
    Command,
    Consult,
    Give,
    Look,
    Pause,
    Reach,
    Record,
    Send,
    Step,
    Steps,
    Submit,
    Tell,
    Wait,
)
from gearmanny.calling.walk import Walk
from gearmanny.errors import GearmanException, JobServerLost
from gearmanny.net.deadline import NEVER, Deadline

R = TypeVar("R")


class AioDriver:
    """Carries out the steps of the calls of one client, for any number of tasks of its loop."""

    def __init__(self, connections: AioConnections) -> None:
        self.connections = connections

    async def run(self, steps: Steps[R]) -> R:
        """Carries out steps to their end, and returns or raises what they do."""
        walk = Walk(steps)
        while (step := walk.step) is not None:
            try:
                answer = await self._carry_out(step)
            except BaseException as error:
                walk.fail(error)
            else:
                walk.answer(answer)
        return walk.result

    async def iterate(
        self,
        steps: Steps[None],
        submit: Callable[[list[Any]], Awaitable[list[Call[AioConnection]]]] | None = None,
    ) -> AsyncIterator[Any]:
        """Carries out steps, and yields what they give.

        Args:
            steps: ended where this is left early.
            submit: sends jobs together, where the steps have any sent.
        """
        walk = Walk(steps)
        try:
            while (step := walk.step) is not None:
                if isinstance(step, Give):
                    yield step.item
                    walk.answer(None)
                    continue
                try:
                    if isinstance(step, Submit):
                        assert submit is not None
                        answer = await submit(step.inputs)
                    else:
                        answer = await self._carry_out(step)
                except BaseException as error:
                    walk.fail(error)
                else:
                    walk.answer(answer)
        finally:
            walk.close()

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
            case Pause(seconds):
                return await asyncio.sleep(seconds)
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
            case Record(store, jobs, hand_over):
                return await store.arecord(jobs, hand_over)
            case Consult(ask_store):
                return await asyncio.to_thread(ask_store)
            case Submit() | Give():
                raise AssertionError("steps that give something are iterated over")
        assert_never(step)


def _settle(call: Call[AioConnection], task: asyncio.Task[bool]) -> None:
    if task.cancelled():
        call.settle(JobServerLost(str(call.line.host), "closed by this client"))
    elif isinstance(error := task.exception(), GearmanException):
        call.settle(error)
