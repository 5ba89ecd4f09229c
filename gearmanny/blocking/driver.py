"""Carries out the steps of calls in the thread that waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from gearmanny.blocking.channel import Channel
from gearmanny.blocking.connections import Connections
from gearmanny.blocking.turns import Missed, Turns
from gearmanny.blocking.walker import Walker, blocked_loops
from gearmanny.calling import resending, waiting
from gearmanny.calling.again import Again
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Question
from gearmanny.calling.options import CallOptions
from gearmanny.calling.steps import (
    Ask,
    Avoid,
    Command,
    Look,
    Reach,
    Send,
    Step,
    Tell,
    Wait,
)
from gearmanny.net.deadline import NEVER, Deadline
from gearmanny.net.question import ask
from gearmanny.protocol.admin import AdminConnection
from gearmanny.protocol.client import Request


class SharedAgain(Again):
    """How a job is sent again, by one of the threads that wait for it."""

    __slots__ = ("turns",)

    def __init__(self, request: Request, options: CallOptions, connections: Connections) -> None:
        super().__init__(request, options.unique, connections.pool)
        self.turns = Turns(threading.Lock())


class Driver(Walker):
    """Carries out the steps of the calls of one client. May be used by several threads."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

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
            if not blocked_loops.reported:
                blocked_loops.look(call.function)
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
        return super()._carry_out(step)


def _send(call: Call[Channel], channel: Any, deadline: Deadline) -> bool:
    assert call.again is not None
    sent: bool = channel.submit([(call, call.again.request)], deadline)
    return sent


def _ask(question: Question[Channel], job: bytes, by_unique: bool, deadline: Deadline) -> bool:
    channel = question.line
    channel.ask(question, job, deadline, by_unique=by_unique)
    return channel.wait(question, question.is_answered, deadline)
