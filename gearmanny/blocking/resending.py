"""Sending an idempotent job again when its connection was lost."""

from __future__ import annotations

import contextlib
import threading
import time

from gearmanny.blocking.channel import ChannelSubmission
from gearmanny.blocking.connections import Connections
from gearmanny.calling.again import new_backoff
from gearmanny.calling.options import CallOptions
from gearmanny.errors import JobServerLost, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.protocol.client import Request


class Resending:
    """What it takes to send an idempotent job again, for all threads that wait for it."""

    def __init__(self, connections: Connections, request: Request, options: CallOptions) -> None:
        self._connections = connections
        self._request = request
        self._options = options
        self._lock = threading.Lock()

    def send_again(self, work: ChannelSubmission, deadline: Deadline) -> None:
        """Sends a job whose connection was lost again, to a job server that is up.

        A job server that restarts gets the time for it that making a connection may take. When
        none comes back, `JobServerUnavailable` becomes the outcome.
        """
        patience = Deadline(self._connections.servers.connect_timeout)
        backoff = new_backoff()
        with self._lock:
            while isinstance(work.outcome, JobServerLost) and not work.channel.given_up:
                try:
                    channel = self._connections.channel(self._options)
                except JobServerUnavailable as error:
                    delay = backoff.next_delay()
                    if any(left is not None and left < delay for left in _left(deadline, patience)):
                        work.outcome = error
                        return
                    time.sleep(delay)
                    continue
                # Who watches was told of the loss, and will watch again.
                work.groups = ()
                lost, work.outcome = work.outcome, None
                work.handle = None  # the next job server may give that one to another job
                work.channel = channel
                if not channel.queue(work, self._request):
                    work.outcome = lost
                    continue
                with contextlib.suppress(JobServerLost):  # told by the job
                    channel.flush(patience)


def _left(*deadlines: Deadline) -> list[float | None]:
    return [deadline.remaining() for deadline in deadlines]
