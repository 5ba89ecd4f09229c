"""The loop of a worker: the blocking driver of `protocol.worker`.

One thread, one job at a time, any number of job servers. Only one server at a
time is asked for a job: a second one could assign a job that then waits for us
while other workers are free. Servers that had nothing wake us with a NOOP; as
a NOOP can be lost, sleeping ones are asked again every few seconds. That also
starts scheduled jobs on gearmand 1.1.20, which wakes nobody when they fall due.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import weakref
from collections.abc import Iterable, Iterator

from gearmanny import __version__
from gearmanny.errors import GearmanException, JobServerLost, ProtocolError
from gearmanny.net.polling import Poller, Waker
from gearmanny.net.transport import Connection
from gearmanny.payload.names import check_function_name
from gearmanny.protocol.worker import Assigned
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.working.attempts import Attempts
from gearmanny.working.companions import JobLoop, Observer
from gearmanny.working.connector import Connector
from gearmanny.working.jobs import JobRunner
from gearmanny.working.link import Link
from gearmanny.working.options import WorkerOptions

logger = logging.getLogger("gearmanny.worker")

_ASK_AGAIN = 4.0
"""Seconds after which a server that had no job is asked again without having called, and after
which one that does not answer keeps us from the others no longer."""

_GIVE_UP = 10.0
"""Seconds after which a server that does not answer a question is connected to anew. gearmand
answers at once; with a question lost on the way, a worker would look alive and take nothing."""

_LINK_CHORES = (_ASK_AGAIN, _GIVE_UP)


class WorkLoop:
    """Takes jobs for a `GearmanWorker` until it is stopped."""

    def __init__(
        self,
        gearman_worker: GearmanWorker,
        options: WorkerOptions,
        observer: Observer | None = None,
    ) -> None:
        """
        Args:
            gearman_worker: any gearman3 worker: its registered tasks, `data_encoder`,
                `job_class`, `on_job_*` and `after_job` are used, its connections are not.
            options: its hosts, limits and TLS, and how many jobs it asks for or holds at a time.
            observer: is told when the loop serves, and of every job.
        """
        self._worker = gearman_worker
        self._capacity = options.capacity
        self.event_loop: JobLoop | None = None
        self._max_packet = options.max_packet
        self._links: dict[int, Link] = {}
        self._registered: dict[bytes, str | bytes] = {}
        self._poller = Poller()
        self.waker = Waker()
        self._connector = Connector(options.hosts, self.waker, options.tls)
        self._observer = observer
        self._unready = observer is not None
        self._jobs = JobRunner(gearman_worker)
        self.attempts = Attempts(lambda: self._stopping, self.waker, self._jobs.answer_at_last)
        """For jobs that may be tried again, or have a time limit."""
        self._rested_at = math.inf
        """When the first server may be asked again that calls us for nothing."""
        self._stopping = False

    def stop(self) -> None:
        """Lets `run` return once the current job is answered. For signal handlers and threads."""
        self._stopping = True
        self.waker.wake()

    def run(self) -> None:
        """Works until `stop` is called. A server that is away is tried again for ever."""
        self._poller.add(self.waker)
        try:
            while not self._stopping:
                for connection in self._connector.connect():
                    self._join(connection)
                if self._unready and self._connector.all_away():
                    self._tell_ready()
                self._wake_sleepers()
                self._ask()
                self._attend_until(self._next_chore())
            if self.event_loop is not None:
                self.event_loop.stop()
                self.event_loop.finish()
                self._note_ended()
            for link in list(self._links.values()):
                self._flush(link)
                link.finish()
        finally:
            if self.event_loop is not None:
                self.event_loop.close()
            self.attempts.close()
            self._connector.close()
            for link in list(self._links.values()):
                self._drop(link)
            self.waker.close()

    def _note_ended(self) -> None:
        """Does what is done after a job, for those that ended in the event loop."""
        for _ in range(self.event_loop.take_ended() if self.event_loop else 0):
            if self._observer is not None:
                self._observer.job_done()
            if not self._jobs.goes_on_after_job():
                self._stopping = True
        if self.event_loop is not None and self.event_loop.error is not None:
            raise self.event_loop.error

    def _tell_ready(self) -> None:
        if self._observer is not None:
            self._observer.ready()
        self._unready = False

    def work_off(self, connection: Connection) -> None:
        """Does the jobs that wait at a job server, and returns when there are no more: for one
        that answers at once, because it is in this very thread, where nobody waits for anything.
        """
        self.attempts.waits = False
        link = self._link(connection)
        try:
            self._introduce(link)
            assigned = True
            while assigned and not self._stopping:
                link.ask(1, time.monotonic())
                link.flush()
                assigned = False
                for event in link.receive() or ():
                    if isinstance(event, Assigned):
                        assigned = True
                        self._jobs.run(link, event, self._registered[event.function])
                        if self.event_loop is not None:
                            self.event_loop.finish()
                            self._note_ended()
            link.flush()
        finally:
            if self.event_loop is not None:
                self.event_loop.close()
            self.attempts.close()
            self._unlink(link)
            self.waker.close()

    def _join(self, connection: Connection) -> None:
        link = self._link(connection)
        self._links[self._poller.add(link)] = link
        try:
            self._introduce(link)
        except JobServerLost as error:
            self._lose(link, error)

    def _link(self, connection: Connection) -> Link:
        link = Link(
            connection,
            self._worker.data_encoder,
            self._jobs.answer_failure,
            self._name_functions,
            self._max_packet,
        )
        self._worker.handler_to_connection_map[link] = link
        self._worker.connection_to_handler_map[link] = link
        return link

    def _introduce(self, link: Link) -> None:
        link.set_client_id(self._worker.worker_client_id or f"gearmanny/{__version__}")
        link.set_abilities(self._worker.worker_abilities)

    def _wake_sleepers(self) -> None:
        now = time.monotonic()
        heard: list[int] | None = None
        for link in list(self._links.values()):
            if now - link.asked_at >= _ASK_AGAIN:
                link.machine.wake()
            if link.machine.asking and not link.machine.held and now - link.asked_at >= _GIVE_UP:
                # Its answer may have come while a job of another server was running.
                heard = self._poller.wait(0) if heard is None else heard
                if link.descriptor not in heard:
                    self._lose(link, JobServerLost(str(link.host), "it does not answer"))

    def _next_chore(self) -> float:
        """Returns when a host is to be tried, or a sleeper to be woken, at the latest."""
        now = time.monotonic()
        due = [
            *self._connector.due(),
            *(link.asked_at + wait for link in self._links.values() for wait in _LINK_CHORES),
        ]
        # What is overdue already waits for something else: a server that does not answer.
        return min((at for at in due if at > now), default=now + _ASK_AGAIN)

    def _attend_until(self, at: float) -> None:
        """Does what the servers want, until some time, or until there is another chore."""
        links = len(self._links)
        while not self._stopping and len(self._links) == links and not self._connector.has_news():
            remaining = min(at, self._rested_at) - time.monotonic()
            if remaining <= 0:
                return
            for descriptor in self._poller.wait(remaining):
                if descriptor not in self._links:
                    self.waker.clear()
                    self._note_ended()
                    self._ask()
                elif not self._stopping:
                    self._attend(self._links[descriptor])

    def _ask(self) -> None:
        """Asks the server that was asked longest ago for as many jobs as we may hold more."""
        now = time.monotonic()
        free = self._capacity
        next_link: Link | None = None
        self._rested_at = math.inf
        for link in self._links.values():
            machine = link.machine
            if machine.asking and not machine.held and now - link.asked_at >= _ASK_AGAIN:
                continue  # it does not answer, and must not keep us from the others for ever
            free -= machine.asking + len(machine.held)
            if not machine.awake:
                continue
            if machine.empty_calls and link.ask_from > now:
                self._rested_at = min(self._rested_at, link.ask_from)
            elif next_link is None or link.asked_at < next_link.asked_at:
                next_link = link
        if free > 0 and next_link is not None:
            next_link.ask(free, now)
            self._flush(next_link)

    def _attend(self, link: Link) -> None:
        """Takes in what a server sent, and answers it."""
        try:
            events = link.receive()
        except (JobServerLost, ProtocolError) as error:
            self._lose(link, error)
            return
        if events is None:
            return
        self._connector.works(link.host)
        if self._unready:
            self._tell_ready()
        for event in events:
            if isinstance(event, Assigned):
                if self._jobs.run(link, event, self._registered[event.function]):
                    self._stopping = True
                if self._observer is not None and not self._jobs.handed_over:
                    self._observer.job_done()
                # A finished answer leaves at once, and where it can in one send with the next
                # question; a worker that stops gives back what it did not begin.
                if self._stopping:
                    return
                self._ask()
                self._flush(link)
                if link.descriptor not in self._links:
                    return
            else:
                logger.warning(
                    "the job server %s refused: %s (%s)",
                    link.host,
                    event.code.decode(errors="replace"),
                    event.text.decode(errors="replace"),
                    extra={"action": "server_refused"},
                )
        if not events:  # called, or told that there is no job
            self._ask()
            self._flush(link)

    def _name_functions(self, abilities: Iterable[str | bytes]) -> list[bytes]:
        named = {
            name if isinstance(name, bytes) else check_function_name(name): name
            for name in abilities
        }
        # A job for a function that was withdrawn may still be on its way.
        self._registered |= named
        return list(named)

    def _flush(self, link: Link) -> None:
        try:
            link.flush()
        except JobServerLost as error:
            self._lose(link, error)

    def _lose(self, link: Link, error: GearmanException) -> None:
        if link.descriptor in self._links:
            self._drop(link)
            self._connector.lost(link.host, error)

    def _drop(self, link: Link) -> None:
        del self._links[link.descriptor]
        self._poller.remove(link.descriptor)
        self._unlink(link)

    def _unlink(self, link: Link) -> None:
        self._worker.handler_to_connection_map.pop(link, None)
        self._worker.connection_to_handler_map.pop(link, None)
        link.close()


loops: weakref.WeakKeyDictionary[GearmanWorker, WorkLoop] = weakref.WeakKeyDictionary()
"""The loops that run, by the worker that all who share it have in common."""


@contextlib.contextmanager
def loop_of(
    worker: GearmanWorker, options: WorkerOptions, observer: Observer | None = None
) -> Iterator[WorkLoop]:
    """Gives a worker its loop, to be run inside the block. Takes what `WorkLoop` takes."""
    loop = loops[worker] = WorkLoop(worker, options, observer)
    try:
        yield loop
    finally:
        del loops[worker]
