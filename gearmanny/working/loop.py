"""The loop of a worker: the blocking driver of `protocol.worker`.

One thread, one job at a time, any number of job servers. Only one server at a
time is asked for a job: a second one could assign a job that then waits for us
while other workers are free. Servers that had nothing wake us with a NOOP; as
a NOOP can be lost, sleeping ones are asked again every few seconds. That also
starts scheduled jobs on gearmand 1.1.20, which wakes nobody when they fall due.
"""

from __future__ import annotations

import json
import logging
import math
import time
from functools import partial

from gearmanny.errors import JobServerLost, ProtocolError
from gearmanny.net.forks import HandledSignals, end_as_a_program, this_process
from gearmanny.payload.names import served_here
from gearmanny.protocol.worker import Assigned, Refused
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.working.answers import Answers
from gearmanny.working.atomic import atomic_tasks, check_transaction
from gearmanny.working.claims import Claims
from gearmanny.working.context import Context
from gearmanny.working.environment import Environment, environment_of
from gearmanny.working.exported import help_of
from gearmanny.working.handler import Handler
from gearmanny.working.jobevents import JobEvents
from gearmanny.working.jobs import JobRunner
from gearmanny.working.ledger import Ledger
from gearmanny.working.limited import check_limits, registered_tasks
from gearmanny.working.link import Link
from gearmanny.working.links import Links, name_of
from gearmanny.working.membership import Facts
from gearmanny.working.observer import Observer
from gearmanny.working.options import WorkerOptions
from gearmanny.working.refusals import Refusals
from gearmanny.working.schedules import schedules_of, warn_without_records

logger = logging.getLogger("gearmanny.worker")

_ASK_AGAIN = 4.0
"""Seconds after which a server that had no job is asked again without having called, and after
which one that does not answer keeps us from the others no longer."""

_GIVE_UP = 10.0
"""Seconds after which a server that does not answer a question is connected to anew. gearmand
answers at once; with a question lost on the way, a worker would look alive and take nothing."""

_UNHEARD = 0.25
"""Seconds after which a server that never sent anything, perhaps because it has stopped, keeps us
from the others no longer. A worker connects to such a server again and again."""

_LINK_CHORES = (_UNHEARD, _ASK_AGAIN, _GIVE_UP)


class WorkLoop:
    """Takes jobs for a `GearmanWorker` until it is stopped."""

    def __init__(
        self,
        gearman_worker: GearmanWorker,
        options: WorkerOptions,
        environment: Environment,
        observer: Observer | None = None,
    ) -> None:
        """
        Args:
            gearman_worker: any gearman3 worker: its registered tasks, `data_encoder`,
                `job_class`, `on_job_*` and `after_job` are used, its connections are not.
            options: how many jobs it asks for or holds at a time, and how long packets may be.
            environment: makes the connections, and waits.
            observer: notified when the loop serves, and of every job.
        """
        self._capacity = options.capacity
        self._waker = environment.waker
        self._connector = environment.connector
        self._observer = observer
        self._unready = observer is not None
        self._jobs = JobRunner(gearman_worker, options.mask)
        self._ledger = Ledger() if observer is None else observer.ledger
        self._worker = gearman_worker
        self._options = options
        self._claims = (
            None
            if options.records is None
            else Claims(
                options.records,
                self._is_stopping,
                max_deaths=options.max_deaths,
                max_result=options.max_result,
                forget_arguments=options.forget_arguments,
            )
        )
        events = None if options.listener is None else JobEvents(gearman_worker, options.listener)
        self._answers = Answers(gearman_worker, self._ledger, self._claims, events)
        self._context = Context(
            self._answers,
            self._ledger,
            self._is_stopping,
            environment.pause,
            partial(environment.new_event_loop, environment.waker.wake),
            self._claims,
            options.transaction,
            events,
        )
        self._links = Links(gearman_worker, environment, self._context, options.max_packet)
        self._refusals = Refusals()
        self._rested_at = math.inf
        """When the first server may be asked again that calls us for nothing."""
        self.turns = 0
        self.connected = False
        self._stopping = False
        self._forks = this_process.forks
        self._handled_signals = HandledSignals()

    def stop(self) -> None:
        """Lets `run` return once the current job is answered. For signal handlers and threads."""
        self._stopping = True
        self._waker.wake()

    def run(self) -> None:
        """Works until `stop` is called. A server that is away is tried again for ever.

        Raises:
            BaseException: an exception that stops the worker. Jobs without an answer go back to
                their queues.
        """
        if self._claims is None:
            warn_without_records(self._worker)
            self._run()
            return
        functions = json.dumps(help_of(self._worker))
        self._claims.open(
            Facts(self._options.pool, self._options.runner, functions, name_of(self._worker)),
            schedules_of(self._worker),
        )
        try:
            self._run()
        finally:
            self._claims.close()

    def _run(self) -> None:
        self._handled_signals = HandledSignals()
        self._links.open()
        served = served_here.set(frozenset(help_of(self._worker)))
        try:
            while not self._stopping:
                self._links.connect()
                self.turns += 1
                self.connected = any(link.heard for link in self._links)
                if self._unready and self._connector.all_away():
                    self._report_ready()
                self._wake_sleepers()
                self._ask()
                self._attend_until(self._next_chore())
            if self._context.running_event_loop is not None:
                self._context.running_event_loop.notify()
                self._context.running_event_loop.finish()
                self._note_answered()
            self._links.finish()
        finally:
            served_here.reset(served)
            self._context.close()
            self._links.close()

    def _is_stopping(self) -> bool:
        event_loop = self._context.running_event_loop
        return self._stopping or (event_loop is not None and event_loop.error is not None)

    def _note_answered(self) -> None:
        """Does what is done after a job, for those that were answered in the event loop."""
        event_loop = self._context.running_event_loop
        if event_loop is not None:
            for _ in range(event_loop.take_answered()):
                self._job_done()
            if event_loop.error is not None:
                raise event_loop.error

    def _job_done(self) -> None:
        if not self._answers.goes_on_after_job():
            self._stopping = True
        if this_process.forks != self._forks:
            end_as_a_program()
        if self._observer is not None:
            self._observer.job_done()

    def _report_ready(self) -> None:
        if self._observer is not None:
            self._observer.ready()
        self._unready = False

    def _wake_sleepers(self) -> None:
        now = time.monotonic()
        heard: list[Handler | None] | None = None
        for link in list(self._links):
            if now - link.asked_at >= _ASK_AGAIN:
                link.machine.wake()
            if link.full:
                continue  # it pauses: to leave it would make a job run twice that is done
            if link.machine.asking and not link.machine.held and now - link.asked_at >= _GIVE_UP:
                # Its answer may have come while a job of another server was running.
                heard = self._links.wait(0) if heard is None else heard
                if link not in (handler.link for handler in heard if handler is not None):
                    self._links.lose(link, JobServerLost(str(link.host), "it does not answer"))

    def _next_chore(self) -> float:
        """Returns when a host is to be tried, or a sleeper to be woken, at the latest."""
        now = time.monotonic()
        due = [
            *self._connector.due(),
            *(link.asked_at + wait for link in self._links for wait in _LINK_CHORES),
        ]
        # What is overdue already waits for something else: a server that does not answer.
        return min((at for at in due if at > now), default=now + _ASK_AGAIN)

    def _attend_until(self, at: float) -> None:
        """Does what the servers want, until some time, or until there is another chore."""
        links = len(self._links)
        while not self._stopping and not self._links.have_changed(links):
            remaining = min(at, self._rested_at) - time.monotonic()
            if remaining <= 0:
                return
            for handler in self._links.wait(remaining):
                if handler is None:
                    self._waker.clear()
                    self._note_answered()
                    self._ask()
                elif not self._stopping and handler.link in self._links:
                    self._attend(handler)

    def _ask(self) -> None:
        """Asks the server that was asked longest ago for as many jobs as we may hold more."""
        now = time.monotonic()
        free = self._capacity
        next_link: Link | None = None
        self._rested_at = math.inf
        for link in self._links:
            machine = link.machine
            patience = _ASK_AGAIN if link.heard else _UNHEARD
            silent = link.full or now - link.asked_at >= patience
            if machine.asking and not machine.held and silent:
                continue  # it does not answer, and must not keep us from the others for ever
            free -= machine.asking + len(machine.held)
            if link.full or not machine.awake:
                continue
            if machine.empty_calls and link.ask_from > now:
                self._rested_at = min(self._rested_at, link.ask_from)
            elif next_link is None or link.asked_at < next_link.asked_at:
                next_link = link
        if free > 0 and next_link is not None:
            next_link.ask(free, now)
            self._links.flush(next_link)

    def _attend(self, handler: Handler) -> None:
        """Takes in what a server sent, and answers it."""
        link = handler.link
        try:
            events = link.receive()
        except (JobServerLost, ProtocolError) as error:
            self._links.lose(link, error)
            return
        if events is None:
            return
        self._connector.works(link.host)
        if self._unready:
            self._report_ready()
        had_job = False
        for event in events:
            if isinstance(event, Refused):
                self._refusals.log(link.host, event)
                continue
            had_job = True
            self._work(handler, event)
            # A finished answer leaves at once, and where it can in one send with the next
            # question; a worker that stops gives back what it did not begin.
            if self._stopping:
                return
            self._ask()
            self._links.flush(link)
            self._ledger.sent(link)
            if link not in self._links:
                return
        if not had_job:  # called, or told that there is no job, perhaps behind a refusal
            self._ask()
            self._links.flush(link)

    def _work(self, handler: Handler, assigned: Assigned) -> None:
        answered = self._jobs.run(handler, assigned, self._links.function_of(assigned.function))
        replaced = self._handled_signals.restore()
        if replaced:
            logger.warning(
                "%s replaced the handlers of signals that stop this worker, %s; they are restored",
                assigned.function.decode(errors="replace"),
                ", ".join(replaced),
                extra={"action": "signals_restored"},
            )
        if self._context.interrupted and self._observer is not None:
            self._context.interrupted = False
            self._observer.interrupted()
        if answered:
            self._job_done()
        elif handler.link.unwanted:
            self._links.leave(handler.link)


def loop_of(
    gearman_worker: GearmanWorker, options: WorkerOptions, observer: Observer | None = None
) -> WorkLoop:
    """Returns a loop that takes jobs from real job servers.

    Args:
        gearman_worker: the worker.
        options: its hosts, limits and TLS, and how many jobs it asks for or holds at a time.
        observer: notified when the loop serves, and of every job.

    Raises:
        InvalidOption: a task is atomic, and there is no transaction; or it has limits, and there
            are no records.
    """
    check_transaction(atomic_tasks(gearman_worker), options.transaction)
    check_limits(registered_tasks(gearman_worker), options.records)
    environment = environment_of(list(options.hosts), options.tls)
    return WorkLoop(gearman_worker, options, environment, observer)
