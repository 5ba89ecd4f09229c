"""All job servers of a dispatcher, and what is under way with them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from gearmanny.dispatching import log
from gearmanny.dispatching.link import Link
from gearmanny.dispatching.losses import Losses
from gearmanny.dispatching.refusals import Refusals
from gearmanny.errors import GearmanException
from gearmanny.net.hosts import Host
from gearmanny.net.polling import Poller
from gearmanny.net.tls import TLS
from gearmanny.protocol.client import Created, Event, Rejected, StatusReceived
from gearmanny.records.values import HandedOver


@dataclass(eq=False, slots=True)
class _Sent:
    """A job that was sent to a job server, which has not answered yet."""

    job: HandedOver
    store: str
    """The id of its store."""
    refused_by: list[Link] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Question:
    """A question to all job servers that are up, about some jobs."""

    jobs: Sequence[HandedOver]
    waiting: int
    """How many answers are missing."""
    known: set[str] = field(default_factory=set)
    """The ids of the jobs that a job server has."""
    undecided: set[str] = field(default_factory=set)
    """The ids of those about which a job server did not answer."""


@dataclass(eq=False, slots=True)
class _Asked:
    """The part of a question that is about one job, to one job server."""

    question: Question
    job: HandedOver


class JobServers:
    """The connections to all job servers."""

    def __init__(
        self,
        hosts: Sequence[Host],
        tls: TLS | None,
        poller: Poller,
        wake: Callable[[], object],
        losses: Losses,
    ) -> None:
        """
        Args:
            hosts: the job servers.
            tls: how they are secured; None for plain connections.
            poller: waits for them.
            wake: interrupts that wait, from a thread.
            losses: is told of job servers that go and come.
        """
        self._held: list[_Sent] = []
        self._links = [Link(host, tls, wake) for host in hosts]
        self._poller = poller
        self._losses = losses
        self._refusals = Refusals()
        self._descriptors: dict[int, Link] = {}
        self._met: set[Link] = set()
        self._turn = 0

    @property
    def up(self) -> list[Link]:
        """The job servers that are there."""
        return [link for link in self._links if link.is_up]

    @property
    def held(self) -> list[str]:
        """The ids of jobs that every job server refuses for the time being."""
        return [sent.job.id for sent in self._held]

    @property
    def is_waiting(self) -> bool:
        """Whether a job server that is up has not answered everything."""
        return any(link.is_waiting for link in self.up)

    def wakes_at(self) -> float:
        """Returns when `tend` is to be called at the latest; never: infinity."""
        return min(link.wakes_at() for link in self._links)

    def tend(self, now: float) -> None:
        """Connects where that is due, and ends connections on which nothing is answered.

        Args:
            now: the current time.
        """
        for link in self._links:
            with self._watched(link, now):
                if link.tend(now):
                    self._descriptors[self._poller.add(link)] = link
                    link.flush(now)

    def hand_over(self, jobs: Sequence[HandedOver], store: str, now: float) -> None:
        """Sends jobs to job servers, and those that were held before.

        Args:
            jobs: as they are handed over.
            store: the id of their store.
            now: the current time.
        """
        held, self._held = self._held, []
        for sent in (*held, *(_Sent(job, store) for job in jobs)):
            self._submit(sent, now)
        self._flush(now)

    def ask(self, jobs: Sequence[HandedOver], store: str, now: float) -> Question:
        """Asks all job servers that are up whether they have some jobs.

        Args:
            jobs: as they were handed over.
            store: the id of their store.
            now: the current time.
        """
        links = self.up
        question = Question(jobs, len(jobs) * len(links))
        for link in links:
            for job in jobs:
                link.ask(_Asked(question, job), job, store)
        self._flush(now)
        return question

    def receive(self, descriptor: int, now: float) -> None:
        """Takes in what a job server has answered.

        Args:
            descriptor: of its connection; another one is ignored.
            now: the current time.
        """
        link = self._descriptors.get(descriptor)
        if link is None:
            return
        was_up = link.is_up
        with self._watched(link, now):
            for token, event in link.receive(now):
                self._take(link, token, event, now)
        if link.is_up and not was_up:
            if link.failures:
                log.server_back(link.host)
                self._losses.server_came(now)
            elif link not in self._met:
                self._losses.server_met(now)
            self._met.add(link)
            link.failures = 0
        self._flush(now)  # jobs that another one refused

    def close(self) -> None:
        """Closes all connections."""
        for link in self._links:
            link.close()

    def _take(self, link: Link, token: Hashable, event: Event, now: float) -> None:
        if isinstance(token, _Asked):
            token.question.waiting -= 1
            # A job server that does not understand the question may have the job.
            if not isinstance(event, StatusReceived) or event.known:
                token.question.known.add(token.job.id)
        elif isinstance(token, _Sent) and isinstance(event, Created):
            self._refusals.accepted(link, token.job.function)
        elif isinstance(token, _Sent) and isinstance(event, Rejected):
            if self._refusals.add(link, token.job.function, now):
                log.server_refused(link.host, token.job, event)
            token.refused_by.append(link)
            self._submit(token, now)

    def _submit(self, sent: _Sent, now: float) -> None:
        links = self._refusals.willing(self.up, sent.job.function, now)
        links = [link for link in links if link not in sent.refused_by]
        if links:
            self._turn += 1
            links[self._turn % len(links)].submit(sent, sent.job, sent.store)
        else:
            sent.refused_by.clear()
            self._held.append(sent)

    def _flush(self, now: float) -> None:
        for link in self._links:
            if link.is_up:
                with self._watched(link, now):
                    link.flush(now)

    @contextlib.contextmanager
    def _watched(self, link: Link, now: float) -> Iterator[None]:
        """Takes in that the connection ends in the block."""
        was_up, descriptor = link.is_up, link.fileno()
        try:
            yield
        except GearmanException as error:
            descriptor = max(descriptor, link.fileno())
            if self._descriptors.pop(descriptor, None) is not None:
                self._poller.remove(descriptor)
            for token in link.lost(now):
                if isinstance(token, _Asked):
                    token.question.waiting -= 1
                    token.question.undecided.add(token.job.id)
            if link.failures == 1:
                log.server_away(link.host, error)
            if was_up:
                self._losses.server_went(now)
