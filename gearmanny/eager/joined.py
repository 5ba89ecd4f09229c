"""Eager mode: a call runs in its caller, over a job server in memory.

Nothing is done here that is not done elsewhere: a client's own channel talks
to the job server of `protocol.server`, and so does the loop of the worker, in
the bytes that a network would carry. Encoding, checking of arguments, hooks and
failures are therefore those of a real call. Only waiting is not: a job has run
when sending it returns, and what has not been answered then never will be.

Every call has a job server of its own. So calls of other threads, and calls
that a task makes, cannot get in each other's way.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from gearmanny import __version__
from gearmanny.blocking.channel import Channel
from gearmanny.calling.call import Call
from gearmanny.calling.options import CallOptions
from gearmanny.calling.waiting import UNSERVED
from gearmanny.eager.environment import EventLoopWithoutPauses, run_until_idle
from gearmanny.eager.outbox import keep
from gearmanny.eager.recorded import run_recorded
from gearmanny.errors import InvalidTask, TaskTimeout
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host, Servers
from gearmanny.net.transport import Connection
from gearmanny.payload.names import check_function_name
from gearmanny.protocol.client import Request
from gearmanny.protocol.connected import ServerConnection
from gearmanny.protocol.server import Server
from gearmanny.running.factory import check_kind, check_kinds, make_worker
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.worker import BaseWorker, Hook, JsonWorker
from gearmanny.working.context import JobLoop
from gearmanny.working.hooks import SyncToAsync, check_hooks
from gearmanny.working.jobevents import JobListener
from gearmanny.working.options import Transaction, WorkerOptions

if TYPE_CHECKING:
    from gearmanny.calling.handover import JobHandOver
    from gearmanny.payload.encoding import Encoder
    from gearmanny.records.contract import HandOver, Store

HOST = Host("eager", 4730)
"""The host that connections in memory name."""

_servers = itertools.count(1)


class Eager:
    """The workers of eager mode.

    Jobs that run at the same time, because a task calls another one, or in threads, have a
    worker object each, as they would in as many processes.
    """

    def __init__(
        self,
        workers: Sequence[type[BaseWorker]] = (),
        *,
        hooks: Sequence[Hook] = (),
        sync_to_async: SyncToAsync | None = None,
        send_tracebacks: bool | None = None,
        default_work_class: type[GearmanWorker] = JsonWorker,
        records: Store | None = None,
        transaction: Transaction | None = None,
        listener: JobListener | None = None,
    ) -> None:
        """
        Args:
            workers: the worker classes that do the jobs. More may be added.
            hooks: contexts around every job of every worker, outside of its own hooks.
            sync_to_async: runs a synchronous hook for a coroutine; None for a thread.
            send_tracebacks: overrides what the worker classes say, unless None.
            default_work_class: stands in for `JsonWorker`, for workers that chose no other.
            records: the store of the jobs that have a record. None: background jobs run at once,
                also those of clients with records, and have none.
            transaction, listener: as `WorkRunner` takes them.

        Raises:
            InvalidTask: a worker cannot be exported, or two export the same function.
        """
        self._options = WorkerOptions(
            hooks=check_hooks(hooks),
            sync_to_async=sync_to_async,
            send_tracebacks=send_tracebacks,
            default_work_class=default_work_class,
            records=records,
            transaction=transaction,
            listener=listener,
        )
        self._free: dict[type[BaseWorker], list[BaseWorker]] = {}
        self._owners: dict[bytes, type[BaseWorker]] = {}
        self.add(*check_kinds(workers, "eager"))
        _all_eager.add(self)

    @property
    def functions(self) -> list[str]:
        """The functions that can be called."""
        return sorted(function.decode() for function in self._owners)

    def add(self, *workers: type[BaseWorker]) -> None:
        """Adds workers; one that is there already stays.

        Raises:
            InvalidTask: one cannot be exported, or exports a function of another one.
        """
        for worker in workers:
            check_kind(worker)
            if worker in self._free:
                continue
            made = make_worker(worker, self._options)
            functions = set(map(_travelling, made.gearman_worker.worker_abilities))
            for function in functions & self._owners.keys():
                raise InvalidTask(
                    f"{function.decode()}() is exported by {self._owners[function].__qualname__} "
                    f"and by {worker.__qualname__}. Give one of them another name."
                )
            self._owners |= dict.fromkeys(functions, worker)
            self._free[worker] = [made]

    def renew(self) -> None:
        """Forgets the worker objects and what they know: the next job has a new one."""
        self._free = {worker: [] for worker in self._free}

    def hand_over(
        self, store: Store, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        """Returns what runs recorded jobs here; None where they have no records.

        Args:
            store: that of the client.
            encoder: that of the client.
            options: those of the calls.
        """
        if self._options.records is None:
            return None
        return partial(run_recorded, partial(ClientEnd, self), store, encoder, options)

    async def work_aside(self, work: Callable[[], None]) -> None:
        """Does the jobs of a call that was made in an event loop, which meanwhile goes on."""
        await asyncio.to_thread(work)

    def new_event_loop(self, wake: Callable[[], object]) -> JobLoop:
        """Returns the event loop in which the `async def` tasks of a call run.

        Args:
            wake: to be called when one has ended.
        """
        return EventLoopWithoutPauses(wake)

    def work_off(self, server: Server) -> None:
        """Does the jobs that wait at a job server."""
        queue = server.broker.queue
        while offered := [
            self._owners[function.name]
            for function in queue.functions.values()
            if function.name in self._owners and queue.has_work([function])
        ]:
            free = self._free[offered[0]]
            worker = free.pop() if free else make_worker(offered[0], self._options)
            try:
                run_until_idle(
                    worker.gearman_worker,
                    worker.worker_options,
                    _WorkerEnd(server),
                    self.new_event_loop,
                )
            finally:
                free.append(worker)

    def timed_out(self, functions: set[str], timeout: float | None) -> TaskTimeout:
        """Returns the error for functions that nobody offers.

        Args:
            functions: their names.
            timeout: seconds that their caller would have waited; None for ever.
        """
        names, known = ", ".join(sorted(functions)), ", ".join(self.functions) or "none"
        return TaskTimeout(
            names,
            math.inf if timeout is None else round(timeout, 3),
            f"No worker of eager mode offers {names}; offered: {known}. "
            "Give eager() the worker class that does, or look whether the name is right.",
        )


_all_eager: weakref.WeakSet[Eager] = weakref.WeakSet()


def renew_all() -> None:
    """Renews the workers of every eager mode, before another test."""
    for eager in list(_all_eager):
        eager.renew()


class EagerDialer:
    """Makes the connections of clients, whose jobs some workers do here."""

    lasting = False

    def __init__(self, eager: Eager) -> None:
        self._eager = eager

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        return self._eager.hand_over(ordinary.store, encoder, options)

    def dial(self, host: Host, servers: Servers, timeout: float) -> Channel:
        return _EagerChannel(self._eager)


class _EagerChannel(Channel):
    """The channel of one call: a real one, over a connection in memory."""

    def __init__(self, eager: Eager) -> None:
        self._client_end = ClientEnd(eager)
        super().__init__(self._client_end)

    def submit(self, jobs: Iterable[tuple[Call[Channel], Request]], deadline: Deadline) -> bool:
        jobs = list(jobs)
        for call, request in jobs:
            keep(call, request)
            self._client_end.waits_for_ever = call.options.timeout is None
        sent = super().submit(jobs, deadline)
        self.poll()  # all answers are there: nobody has to wait to see them
        return sent


class _End(Connection):
    """One end of a connection in memory: what is sent has been taken in when `send` returns."""

    def __init__(self, server: Server) -> None:
        self.host = HOST
        self.tls = None
        self._server = server
        self._peer: ServerConnection = server.connect(0, str(HOST))

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes | memoryview, deadline: Deadline) -> None:
        self.send_some(data)

    def send_some(self, data: bytes | memoryview) -> int:
        self._server.receive(self._peer, data, time.time(), time.monotonic())
        return len(data)

    def receive(self) -> bytes:
        return b"".join(iter(self._peer.data_to_send, b""))

    def wait(self, timeout: float | None) -> bool:
        return self._peer in self._server.ready

    def has_ended(self) -> bool:
        return False

    def finish(self, timeout: float) -> None:
        """All that was sent has been taken in."""

    def shutdown(self) -> None:
        """There is nobody on the other end to be told."""

    def close(self) -> None:
        """There is nothing to be given back."""


class _WorkerEnd(_End):
    """The end of a worker. It leaves when it has no more to do."""

    def receive(self) -> bytes:
        self._server.ready.pop(self._peer, None)
        return super().receive()

    def close(self) -> None:
        self._server.disconnect(self._peer)


class ClientEnd(_End):
    """The end of a client: what it sends is done at once."""

    def __init__(self, eager: Eager) -> None:
        super().__init__(
            Server(b"H:eager-%d" % next(_servers), version=f"gearmanny {__version__}", pid=0)
        )
        self._eager = eager
        self.waits_for_ever = False
        """Whether the call has no timeout: the first seconds of its wait are not one."""

    def send_some(self, data: bytes | memoryview) -> int:
        # At the end of all time: also what is to be done later is done at once.
        self._server.receive(self._peer, data, math.inf, math.inf)
        self._eager.work_off(self._server)
        return len(data)

    def receive(self) -> bytes:
        self._server.ready.clear()
        return super().receive()

    def wait(self, timeout: float | None) -> bool:
        """Returns whether something arrived. Does not wait: nothing comes by waiting.

        Raises:
            TaskTimeout: nothing did. A real wait would end so, or never.
        """
        silent = self.silent()
        if super().wait(timeout) or timeout == 0 or not silent:
            return self._peer in self._server.ready
        if self.waits_for_ever and timeout is not None and timeout <= UNSERVED:
            timeout = None
        raise self._eager.timed_out(silent, timeout)

    def silent(self) -> set[str]:
        """Returns the functions that somebody waits for in vain."""
        jobs = self._server.broker.queue.jobs.values()
        return {job.function.name.decode() for job in jobs if job.submitters}


def _travelling(function: str | bytes) -> bytes:
    return function if isinstance(function, bytes) else check_function_name(function)
