"""Carries out the steps of calls in the thread that waits for them."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar, assert_never

from gearmanny.blocking.channel import Channel
from gearmanny.blocking.connections import Connections
from gearmanny.blocking.turns import Missed, Turns
from gearmanny.calling import resending, waiting
from gearmanny.calling.again import Again
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Question
from gearmanny.calling.options import CallOptions
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
from gearmanny.net.deadline import NEVER, Deadline
from gearmanny.net.question import ask
from gearmanny.protocol.admin import AdminConnection
from gearmanny.protocol.client import Request

R = TypeVar("R")

logger = logging.getLogger("gearmanny.client")


class _BlockedLoops:
    """Warns once when a thread waits in which an event loop runs."""

    def __init__(self) -> None:
        self.reported = False

    def look(self, function: str) -> None:
        """Warns if an event loop runs in this thread.

        Args:
            function: the Gearman function whose answer is waited for.
        """
        asyncio = sys.modules.get("asyncio")  # where nobody imported it, no loop runs
        if asyncio is not None and asyncio._get_running_loop() is not None:
            self.reported = True
            logger.warning(
                "%s() is waited for in an event loop, in which nothing else can run meanwhile. "
                "Use an AioClient in coroutines, which is aio_client in Django.",
                function,
                extra={"action": "event_loop_blocked"},
            )


_blocked_loops = _BlockedLoops()


class SharedAgain(Again):
    """How a job is sent again, by one of the threads that wait for it."""

    __slots__ = ("turns",)

    def __init__(self, request: Request, options: CallOptions, connections: Connections) -> None:
        super().__init__(request, options.unique, connections.pool)
        self.turns = Turns(threading.Lock())


class Driver:
    """Carries out the steps of the calls of one client. May be used by several threads."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    def run(self, steps: Steps[R]) -> R:
        """Carries out steps to their end, and returns or raises what they do."""
        walk = Walk(steps)
        while (step := walk.step) is not None:
            try:
                answer = self._carry_out(step)
            except BaseException as error:
                walk.fail(error)
            else:
                walk.answer(answer)
        return walk.result

    def iterate(
        self,
        steps: Steps[None],
        submit: Callable[[list[Any]], list[Call[Channel]]] | None = None,
    ) -> Iterator[Any]:
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
                        answer = submit(step.inputs)
                    else:
                        answer = self._carry_out(step)
                except BaseException as error:
                    walk.fail(error)
                else:
                    walk.answer(answer)
        finally:
            walk.close()

    def result(self, call: Call[Channel], timeout: float | None) -> Any:
        """Returns what a task returned, or raises what its job ended with."""
        deadline = Deadline(waiting.UNSERVED if timeout is None else timeout)
        if call.options.on_update is None:
            if self.wait(call, call.is_answered, deadline):
                return call.value()
            if timeout is None:
                self.run(waiting.warn_if_unserved(call))
        if timeout is None:
            deadline = NEVER
        return self.run(waiting.result(call, deadline, timeout))

    def wait(self, call: Call[Channel], ready: Callable[[], bool], deadline: Deadline) -> bool:
        """Waits for something of a call; sends its job again where it was lost.

        Returns:
            Whether it came before the deadline.
        """
        while not ready():
            if call.is_lost:
                if not self.send_again(call, deadline):
                    return ready()
                continue
            if not _blocked_loops.reported:
                _blocked_loops.look(call.function)
            if not call.line.wait(call, ready, deadline):
                return False
        return True

    def look(self, call: Call[Channel]) -> None:
        """Takes in what has arrived for a call; sends its job again where it was lost and may be
        sent by now."""
        if call.outcome is None:
            if not call.is_lost:
                call.line.poll()
            self.send_again(call, Deadline(0))

    def send_again(self, call: Call[Channel], deadline: Deadline) -> bool:
        """Sends a job again where it was lost.

        Returns:
            False when the deadline came first, and the job is still lost.
        """
        again = call.again
        if again is None or not call.is_lost:
            return True
        assert isinstance(again, SharedAgain)
        steps = resending.send_again(call, deadline)
        try:
            return again.turns.do(lambda: self.run(steps), deadline)
        except Missed:
            return False

    def _carry_out(self, step: Step) -> Any:
        match step:
            case Wait(call, ready, deadline):
                return self.wait(call, ready, deadline)
            case Look(call):
                return self.look(call)
            case Pause(seconds):
                return time.sleep(seconds)
            case Reach(hosts, deadline):
                return self.connections.reach(hosts, deadline)
            case Send(call, channel, deadline):
                return _send(call, channel, deadline)
            case Ask(question, job, by_unique, deadline):
                return _ask(question, job, by_unique, deadline)
            case Command(host, tls, command, receive, timeout):
                machine = AdminConnection()
                sent, receive = machine.command(command), partial(receive, machine)
                return ask(host, command, sent, receive, timeout=timeout, tls=tls)
            case Avoid(host):
                return self.connections.pool.avoid(host)
            case Tell(on_update, update):
                return on_update(update)
            case Record(store, jobs, hand_over):
                return store.record(jobs, hand_over)
            case Consult(ask_store):
                return ask_store()
            case Submit() | Give():
                raise AssertionError("steps that give something are iterated over")
        assert_never(step)


def _send(call: Call[Channel], channel: Any, deadline: Deadline) -> bool:
    assert call.again is not None
    sent: bool = channel.submit([(call, call.again.request)], deadline)
    return sent


def _ask(question: Question[Channel], job: bytes, by_unique: bool, deadline: Deadline) -> bool:
    channel = question.line
    channel.ask(question, job, deadline, by_unique=by_unique)
    return channel.wait(question, question.is_answered, deadline)
