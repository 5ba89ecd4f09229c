"""The environment of a worker's loop in eager mode: one connection in memory, and no waiting."""

from __future__ import annotations

from collections.abc import Callable

from gearmanny.errors import GearmanException
from gearmanny.net.hosts import Host
from gearmanny.net.polling import HasDescriptor, Poller, Waker
from gearmanny.net.transport import Connection
from gearmanny.protocol.workerstate import State
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.working.context import JobLoop
from gearmanny.working.environment import Environment
from gearmanny.working.eventloop import EventLoop
from gearmanny.working.handler import Handler
from gearmanny.working.loop import WorkLoop
from gearmanny.working.options import WorkerOptions


def run_until_idle(
    gearman_worker: GearmanWorker,
    options: WorkerOptions,
    connection: Connection,
    new_event_loop: Callable[[Callable[[], object]], JobLoop],
) -> None:
    """Runs the loop of a worker until its job server has no more jobs for it.

    Args:
        gearman_worker: the worker.
        options: its options.
        connection: to a job server that has answered when sending returns.
        new_event_loop: makes the event loop for coroutines, given a function that is to be called
            when one has ended.
    """
    waker = Waker()
    poller = _Poller(connection)
    environment = Environment(
        waker=waker,
        connector=_Connector(connection),
        poller=poller,
        pause=lambda seconds, link, is_over: None,
        new_event_loop=new_event_loop,
    )
    loop = WorkLoop(gearman_worker, options, environment)
    poller.on_idle = loop.stop
    loop.run()


class EventLoopWithoutPauses(EventLoop):
    """An event loop whose coroutines are tried again at once."""

    async def pause(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Does not wait.

        Args:
            seconds: for how long it would.
            is_over: not asked.
        """


class _Connector:
    """Has one connection, which holds."""

    def __init__(self, connection: Connection) -> None:
        self._made = [connection]

    def connect(self) -> list[Connection]:
        made, self._made = self._made, []
        return made

    def has_news(self) -> bool:
        return False

    def due(self) -> list[float]:
        return []

    def lost(self, host: Host, error: GearmanException) -> None:
        """It is not made again."""

    def again(self, host: Host) -> None:
        """It is not made again."""

    def works(self, host: Host) -> None:
        """It always does."""

    def all_away(self) -> bool:
        return False

    def close(self) -> None:
        """All that was made was taken."""


class _Poller:
    """Waits for coroutines alone: the job server has answered already."""

    on_idle: Callable[[], None]
    """Called when there are no more jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._handler: Handler | None = None
        self._wakes = Poller()

    def add(self, waited_for: HasDescriptor) -> int:
        if isinstance(waited_for, Handler):
            self._handler = waited_for
            return waited_for.fileno()
        return self._wakes.add(waited_for)

    def remove(self, descriptor: int) -> None:
        """The connection is being closed."""

    def wait(self, timeout: float | None) -> list[int]:
        handler = self._handler
        assert handler is not None, "it was connected to at once"
        if self._connection.wait(0):
            return [handler.fileno()]
        machine = handler.link.machine
        if machine.state is State.ASLEEP and not machine.held:
            self.on_idle()
            return []
        return self._wakes.wait(timeout)
