"""The links of a worker to all its job servers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from gearmanny.errors import GearmanException, JobServerLost
from gearmanny.net.transport import Connection
from gearmanny.payload.names import check_function_name
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.working.context import Context
from gearmanny.working.environment import Environment
from gearmanny.working.exported import owners
from gearmanny.working.handler import Handler
from gearmanny.working.link import Link

_LONGEST_NAME = 60
"""Characters of the names of workers that job servers are told: gearmand keeps 128 bytes in all."""


def name_of(gearman_worker: GearmanWorker) -> str:
    """Returns the name of a worker in this process, as `gearadmin --workers` shows it:
    `"mail-4711@host"`, with the names of all workers that share the connection; or the one that it
    was given.

    Args:
        gearman_worker: the worker.
    """
    given: str | None = gearman_worker.worker_client_id
    if given:
        return given
    names = dict.fromkeys(
        name for owner in owners(gearman_worker) if (name := getattr(owner, "name", None))
    )
    pool = "+".join(names) or type(gearman_worker).__name__
    return f"{pool[:_LONGEST_NAME]}-{os.getpid()}@{os.uname().nodename}"


class Links:
    """The links of a worker: made again and again, waited for, and known to gearman3."""

    def __init__(
        self,
        gearman_worker: GearmanWorker,
        environment: Environment,
        context: Context,
        max_packet: int,
    ) -> None:
        """
        Args:
            gearman_worker: the worker.
            environment: makes the connections, and waits for them.
            context: the loop whose jobs come by the links.
            max_packet: bytes of the longest packet, both ways.
        """
        self._worker = gearman_worker
        self._connector = environment.connector
        self._poller = environment.poller
        self._waker = environment.waker
        self._context = context
        self._max_packet = max_packet
        self._handlers: dict[int, Handler] = {}
        """By descriptor."""
        self._registered: dict[bytes, str | bytes] = {}
        """The name that each function was registered with, by the name that travels."""

    def __iter__(self) -> Iterator[Link]:
        """Yields the links."""
        return (handler.link for handler in self._handlers.values())

    def __len__(self) -> int:
        """Returns how many links there are."""
        return len(self._handlers)

    def __contains__(self, link: Link) -> bool:
        """Returns whether a link was neither lost nor closed."""
        return link.descriptor in self._handlers

    def open(self) -> None:
        """Begins to wait for the interruptions of the loop."""
        self._poller.add(self._waker)

    def connect(self) -> None:
        """Makes links of the connections that were made since, and tries the hosts that are due."""
        for connection in self._connector.connect():
            handler = self._handler(connection)
            self._handlers[self._poller.add(handler)] = handler
            try:
                handler.set_client_id(name_of(self._worker))
                handler.set_abilities(self._worker.worker_abilities)
            except JobServerLost as error:
                self.lose(handler.link, error)

    def have_changed(self, since: int) -> bool:
        """Returns whether there are other links, or may be as soon as `connect` is called.

        Args:
            since: how many there were.
        """
        return len(self._handlers) != since or self._connector.has_news()

    def wait(self, seconds: float) -> list[Handler | None]:
        """Returns the handlers of links by which something has arrived, and None where the waker
        was woken.

        Args:
            seconds: to wait for something at most.
        """
        return [self._handlers.get(descriptor) for descriptor in self._poller.wait(seconds)]

    def function_of(self, name: bytes) -> str | bytes:
        """Returns the name that a function was registered with.

        Args:
            name: the name by which it travels.
        """
        return self._registered[name]

    def flush(self, link: Link) -> None:
        """Sends the queued bytes of a link. If the connection has ended, the link is lost.

        Args:
            link: the link.
        """
        try:
            link.flush()
        except JobServerLost as error:
            self.lose(link, error)

    def lose(self, link: Link, error: GearmanException) -> None:
        """Closes a link, to be made again.

        Args:
            link: the link.
            error: why.
        """
        if link in self:
            self._drop(link)
            self._context.ledger.lost(link)
            self._connector.lost(link.host, error)
            if self._context.running_event_loop is not None:
                self._context.running_event_loop.notify()

    def leave(self, link: Link) -> None:
        """Closes a link so that its jobs go back to their queues, and makes it again at once.

        Args:
            link: the link.
        """
        self.flush(link)
        if link in self:
            self._drop(link)
            self._context.ledger.lost(link)
            self._connector.again(link.host)

    def finish(self) -> None:
        """Sends the queued bytes of all links, and leaves the job servers once they have taken in
        the last answer."""
        for link in list(self):
            self.flush(link)
            link.finish()

    def close(self) -> None:
        """Closes all links."""
        self._connector.close()
        for link in list(self):
            self._drop(link)
        self._waker.close()

    def _handler(self, connection: Connection) -> Handler:
        link = Link(connection, self._max_packet, self._waker.wake)
        handler = Handler(link, self._worker.data_encoder, self._context, self._name_functions)
        self._worker.handler_to_connection_map[handler] = handler
        self._worker.connection_to_handler_map[handler] = handler
        return handler

    def _name_functions(self, abilities: Iterable[str | bytes]) -> list[bytes]:
        named = {
            name if isinstance(name, bytes) else check_function_name(name): name
            for name in abilities
        }
        # A job for a function that was withdrawn may still be on its way.
        self._registered |= named
        return list(named)

    def _drop(self, link: Link) -> None:
        handler = self._handlers.pop(link.descriptor)
        self._poller.remove(link.descriptor)
        self._worker.handler_to_connection_map.pop(handler, None)
        self._worker.connection_to_handler_map.pop(handler, None)
        link.close()
