"""Sending an idempotent job again whose connection was lost."""

from __future__ import annotations

from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.steps import Pause, Reach, Send, Steps
from gearmanny.errors import JobServerLost, JobServerUnavailable
from gearmanny.net.deadline import Deadline


def send_again(call: Call[Any], deadline: Deadline) -> Steps[bool]:
    """Sends a lost job again, or gives it up.

    Returns:
        False when the deadline came first, and the job is still lost.
    """
    while call.again is not None and call.is_lost:
        again = call.again
        hosts = again.fresh_hosts()
        fresh = bool(hosts)
        if not fresh:
            pause, timely = again.pause(deadline)
            yield Pause(pause)
            if not timely:
                return False
            hosts = again.hosts()
        if again.is_over:
            call.settle(JobServerLost(str(call.line.host), "closed by this client"))
            return True
        try:
            line = yield Reach(hosts, deadline)
            yield Send(call, line, again.patience)
        except JobServerUnavailable as error:
            if not fresh and not again.fail():
                call.settle(error)
    return True
