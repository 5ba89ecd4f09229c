"""The store of records in PostgreSQL or SQLite."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gearmanny.errors import InvalidOption, StoreUnavailable
from gearmanny.records import claiming, handing, limiting, looking, requests, returning, submitting
from gearmanny.records import processes as rows
from gearmanny.records.connections import Connections
from gearmanny.records.connectors import Connector, connector_of
from gearmanny.records.contract import MAX_DEATHS, MAX_HANDOVERS, HandOver
from gearmanny.records.doubts import Doubts
from gearmanny.records.ids import canonical, new_id
from gearmanny.records.limiting import Limiting
from gearmanny.records.limits import LimitsOfJobs
from gearmanny.records.presence import Presence
from gearmanny.records.schedules import SQLScheduling
from gearmanny.records.session import Session
from gearmanny.records.states import ENDINGS, RETURNS, Event, State
from gearmanny.records.summaries import Summaries
from gearmanny.records.templates import Tables, tables_with
from gearmanny.records.values import (
    Claim,
    Claimed,
    Count,
    HandedAgain,
    HandedOver,
    NewJob,
    Payload,
    Process,
    Refusal,
    Refused,
    Returned,
    Settled,
    Snapshot,
    Submitted,
)
from gearmanny.records.watched import WatchedSQL

__all__ = ["SQLStore", "StoreUnavailable"]

PREFIX = "gearmanny_"
"""The beginning of the names of tables."""

Result = TypeVar("Result")


class SQLStore(WatchedSQL, SQLScheduling, Summaries, Limiting):
    """A store of records in a database; `gearmanny.records.contract.Store` says what it does.

    One connection for each process, which all its threads share; it is made anew after a restart
    of the database, and by children that are forked. The tables are made on first use.
    """

    def __init__(self, url: str | Connector, *, tables: str | Tables = PREFIX) -> None:
        """
        Args:
            url: `"sqlite:///jobs.db"` or `"postgresql://…"`; or an object that connects.
            tables: the prefix of their names, or the names.

        Raises:
            InvalidOption: the URL names no database, or a driver is missing.
        """
        connector = (
            connector_of(url) if isinstance(url, str) or not hasattr(url, "connect") else url
        )
        names = tables_with(tables) if isinstance(tables, str) else tables
        super().__init__(Connections(connector, names))
        self._doubts = Doubts()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy, also one that was pickled for another process, connects anew.
        tables = self._connections.tables
        return functools.partial(SQLStore, self._connections.connector, tables=tables), ()

    @property
    def id(self) -> str:
        if self._connections.store_id is None:
            self._run(lambda session: None)
        assert self._connections.store_id is not None
        return self._connections.store_id

    def _run(self, operation: Callable[[Session], Result]) -> Result:
        return self._connections.run(operation)

    def _on(self, connection: Any) -> Session:
        return Session(connection, self._connections.connector.dialect, self._connections.tables)

    def submit(self, jobs: Sequence[NewJob], connection: Any = None) -> list[Submitted]:
        jobs = [job if job.id else job._replace(id=new_id()) for job in jobs]
        if connection is not None:
            return submitting.submit(self._on(connection), jobs)

        def submit(session: Session) -> list[Submitted]:
            if len(jobs) == 1:  # its one INSERT is a transaction
                return submitting.submit(session, jobs)
            with session.transaction():
                return submitting.submit(session, jobs)

        return self._run(submit)

    def record(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        submitted = self.submit(jobs)
        if ours := [job for job in submitted if job.is_handed_over]:
            hand_over(ours)
        return submitted

    async def arecord(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        return await self.aside(lambda: self.record(jobs, hand_over))

    def look(self, id: str) -> Snapshot | None:
        id = canonical(id)
        return self._run(lambda session: looking.look(session, id))

    def cancel(self, id: str) -> State | None:
        id = canonical(id)
        return self._run(lambda session: requests.cancel(session, id))

    def revive(self, id: str) -> bool:
        id = canonical(id)
        return self._run(lambda session: requests.revive(session, id))

    def claim(
        self, id: str, function: str, number: int, process: str, limits: LimitsOfJobs | None = None
    ) -> Claimed | Refused:
        id, token, within = canonical(id), claiming.new_token(), limiting.claiming_within(limits)

        def claim(session: Session) -> Claimed | Refused:
            return within(session, id, function, number, process, token)

        with self._doubts.unless_answered(Claim(id, token)):
            answer = self._run(claim)
            if isinstance(answer, Refused) and answer.reason is Refusal.UNREGISTERED:
                presence = self._connections.presence
                if presence is not None and presence.process.id == process and self.renew():
                    return self._run(claim)  # it was taken for dead, and is not
            return answer

    def take_over(
        self, refused: Refused, process: str, max_deaths: int = MAX_DEATHS
    ) -> Claimed | Refused:
        owner, dead = refused.owner, refused.claim
        if owner is None or dead is None or self._is_alive(owner):
            return refused
        token = claiming.new_token()
        with self._doubts.unless_answered(Claim(dead.id, token)):
            claimed = self._run(
                lambda session: claiming.take_over(session, dead, process, token, max_deaths)
            )
        if claimed is not None:
            return claimed
        ended = self.give_back(dead, Event.OWNER_DIED, max_deaths=max_deaths)
        return Refused(Refusal.OVER if ended else Refusal.OUTDATED)

    def _is_alive(self, process: str) -> bool:
        exists = self._run(lambda session: rows.exists(session, process))
        return exists and process not in self.dead_processes()

    def progress(self, claim: Claim, numerator: int, denominator: int) -> bool:
        return self._run(lambda session: requests.progress(session, claim, numerator, denominator))

    def save_metadata(self, claim: Claim, metadata: str) -> bool:
        return self._run(lambda session: requests.save_metadata(session, claim, metadata))

    def finish(
        self,
        claim: Claim,
        event: Event,
        result: Payload | None = None,
        error: str | None = None,
        *,
        connection: Any = None,
        forget_arguments: bool | str = False,
    ) -> bool:
        if event not in ENDINGS:
            raise InvalidOption(f"A job is finished by {', '.join(ENDINGS)}, not by {event}.")
        finish = functools.partial(
            claiming.finish,
            claim=claim,
            event=event,
            result=result,
            error=error,
            forget_arguments=forget_arguments,
        )
        if connection is not None:
            return finish(self._on(connection))
        # Of two statements the first one may have been answered by nobody.
        return self._run(finish) or self.settle(claim) is Settled.COMMITTED

    def settle(self, claim: Claim) -> Settled:
        def settle(session: Session) -> Settled:
            with session.transaction():
                return claiming.settle(session, claim)

        return self._run(settle)

    def is_transient(self, error: BaseException) -> bool:
        dialect = self._connections.connector.dialect
        each: BaseException | None = error
        while each is not None:
            if dialect.is_transient(each):
                return True
            each = each.__cause__
        return False

    def give_back(
        self,
        claim: Claim,
        event: Event,
        delay: float = 0.0,
        error: str | None = None,
        *,
        max_deaths: int = MAX_DEATHS,
    ) -> Returned | None:
        if event not in RETURNS:
            raise InvalidOption(f"A job is given back by {', '.join(RETURNS)}, not by {event}.")
        return self._run(
            lambda session: returning.give_back(session, claim, event, delay, error, max_deaths)
        )

    def hand_over(self, limit: int, max_unclaimed: int) -> list[HandedOver]:
        return self._run(lambda session: handing.hand_over(session, limit, max_unclaimed))

    def handed_before(self, seconds: float, limit: int) -> list[HandedOver]:
        return self._run(lambda session: handing.handed_before(session, seconds, limit))

    def confirm(self, ids: Sequence[str], seconds: float = 0.0) -> None:
        self._run(lambda session: handing.confirm(session, ids, seconds))

    def hand_over_again(
        self,
        jobs: Sequence[HandedOver],
        *,
        counts: bool = True,
        max_handovers: int = MAX_HANDOVERS,
        seconds: float = 0.0,
    ) -> HandedAgain:
        return self._run(
            lambda session: handing.hand_over_again(
                session, jobs, counts=counts, max_handovers=max_handovers, seconds=seconds
            )
        )

    def counts(self) -> list[Count]:
        return self._run(looking.counts)

    def prune(self, state: State, older_than: float, limit: int = 500) -> int:
        if state.is_open:
            raise InvalidOption(f"A job that is {state} may still run, and is never pruned.")
        return self._run(lambda session: looking.prune(session, state, older_than, limit))

    def register(
        self, *, pool: str = "", runner: str = "", functions: str = "{}", client_id: str = ""
    ) -> Process:
        process = rows.new_process(
            pool=pool, runner=runner, functions=functions, client_id=client_id
        )
        self.id  # noqa: B018 - the tables exist
        presence = self._connections.connector.presence(process)

        self._run(lambda session: _hold(session, presence))
        self._connections.presence = presence
        return process

    def renew(self) -> bool:
        presence = self._connections.presence
        if presence is None:
            return False
        is_held = self._run(lambda session: _hold(session, presence))
        self._doubts.settle(lambda claim: self.give_back(claim, Event.GIVEN_BACK))
        return is_held

    def leave(self) -> None:
        presence, self._connections.presence = self._connections.presence, None
        if presence is not None:

            def leave(session: Session) -> None:
                rows.remove(session, presence.process.id)
                presence.release(session)

            self._run(leave)

    def beat(self, processes: Sequence[str]) -> None:
        self._run(lambda session: rows.beat(session, processes))

    def processes(self) -> list[Process]:
        return self._run(rows.processes)

    def dead_processes(self) -> list[str]:
        return self._run(lambda session: rows.dead(session, self._connections.connector.is_locked))

    def take_back(
        self, process: str, *, counts: bool = True, max_deaths: int = MAX_DEATHS
    ) -> list[Returned]:
        returned = self._run(
            lambda session: returning.take_back(
                session, process, counts=counts, max_deaths=max_deaths
            )
        )
        self._run(lambda session: rows.remove(session, process))
        self._connections.connector.forget_lock(process)
        return returned

    def cancelling(self, processes: Sequence[str]) -> list[Claim]:
        return self._run(lambda session: requests.cancelling(session, processes))

    def close(self) -> None:
        self._listener.close()
        self._connections.close()


def _hold(session: Session, presence: Presence) -> bool:
    """Takes the lock of a process where it has none, and then inserts its row where there is
    none: it may have been taken for dead while it could not reach the database."""
    if not presence.hold(session):
        return False
    if not rows.exists(session, presence.process.id):
        rows.register(session, presence.process, presence.liveness, presence.lock_key)
    elif presence.liveness is rows.Liveness.LEASE:
        rows.prolong(session, presence.process.id)
    return True
