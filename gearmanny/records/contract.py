"""The contract of a store of records.

All times are those of the database. Everything that is named by an id and a token, or by an id and
a number, may be repeated when its answer was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gearmanny.records.limits import LimitsOfJobs, Releasing
from gearmanny.records.scheduling import Scheduling
from gearmanny.records.states import Event, State
from gearmanny.records.values import (
    Claim,
    Claimed,
    Count,
    HandedAgain,
    HandedOver,
    NewJob,
    Payload,
    Process,
    Refused,
    Returned,
    Settled,
    Snapshot,
    Submitted,
)
from gearmanny.records.waiting import Watched

MAX_DEATHS = 3
"""With so many deaths of processes that ran it, a job is not run again."""

MAX_HANDOVERS = 3
"""So often a job is handed over without a claim before it fails."""

HandOver = Callable[[Sequence[Submitted]], object]
"""Hands over recorded jobs, each with the number 1. It never raises, and waits for nothing. All
calls of a client have the same, so that jobs of several calls can leave together."""


class Store(Watched, Scheduling, Releasing, Protocol):
    """A store of records, for all threads of a process and for those that are forked from it.

    Every method raises `StoreUnavailable` when the database cannot be reached.
    """

    @property
    def id(self) -> str:
        """The short id of the store: 8 hexadecimal digits, which travel with its jobs."""

    # Callers

    def submit(self, jobs: Sequence[NewJob], connection: Any = None) -> list[Submitted]:
        """Records jobs.

        Where a key is taken, no record is made. An insertion waits for other open transactions
        with the same key; two transactions that use two keys in different orders may deadlock.

        Args:
            jobs: any number of them. Thousands are inserted in few statements.
            connection: of the driver, in the transaction that the records become part of. A
                connection of the store's own by default, and then all of the records or none are
                made.

        Returns:
            An answer to each job, in their order.

        Raises:
            InvalidTask: a function cannot have its name.
            InvalidOption: another value of a job is invalid.
            EncodingError: the arguments are text that databases refuse.
        """

    def record(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        """Records jobs for a client, as `submit` does, in its transaction where there is one. From
        then on `id` is known without a question to the database.

        Args:
            jobs: any number of them.
            hand_over: called once they are committed, with those that are to be handed over.
        """

    async def arecord(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        """The same for a coroutine, whose event loop goes on meanwhile. `hand_over` is called in
        the thread that records them."""

    def look(self, id: str) -> Snapshot | None:
        """Returns the record with an id; None when there is none, or it was pruned."""

    def cancel(self, id: str) -> State | None:
        """Cancels a job that is queued, and requests it of one that is running.

        Returns:
            `CANCELLED`; `RUNNING` when its process has to interrupt it; the state in which it has
            ended before; None when there is no record.
        """

    def revive(self, id: str) -> bool:
        """Queues a failed job again, with its failures and deaths forgotten.

        Returns:
            Whether it was failed.

        Raises:
            InvalidOption: another job has its key now.
        """

    # Workers

    def claim(
        self, id: str, function: str, number: int, process: str, limits: LimitsOfJobs | None = None
    ) -> Claimed | Refused:
        """Claims a job, `id` of `function`, that was handed over with a number.

        Args:
            process: id of the process that is to run it; if it was taken for dead, it is back.
            limits: of the jobs of its function; a job over them is held.
        """

    def take_over(
        self, refused: Refused, process: str, max_deaths: int = MAX_DEATHS
    ) -> Claimed | Refused:
        """Claims a running job whose owner is dead.

        Args:
            refused: the answer of `claim`.
            process: id of the process that is to run it.
            max_deaths: with so many deaths the job fails instead.

        Returns:
            A claim; the same refusal while the owner may be alive; `OVER` when the job ends here,
            and `OUTDATED` when somebody else has taken it.
        """

    def progress(self, claim: Claim, numerator: int, denominator: int) -> bool:
        """Notes how far a running job is, without touching its record.

        Returns:
            Whether the claim is valid.
        """

    def save_metadata(self, claim: Claim, metadata: str) -> bool:
        """Keeps what a running job notes of itself, the text of JSON, in place of what it noted
        before. Returns whether the claim is valid."""

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
        """Finishes a job.

        Args:
            claim: on the job.
            event: `SUCCEEDED`, `FAILED` or `INTERRUPTED`.
            result: of a job that succeeded, as it travels.
            error: of one that did not: JSON.
            connection: of the driver, in the transaction of the task, which is to be rolled back
                when False is returned. A connection of the store's own by default.
            forget_arguments: whether a job that succeeded keeps no arguments; or what stands for
                them then.

        Returns:
            Whether the claim was valid. If not, somebody else has the job.

        Raises:
            EncodingError: the result is text that databases refuse.
        """

    def settle(self, claim: Claim) -> Settled:
        """Returns what became of a `finish` in a transaction whose COMMIT was not answered. Waits
        for that transaction if it is still under way."""

    def is_transient(self, error: BaseException) -> bool:
        """Returns whether the transaction of a task has met another one, or has lost its
        connection: nothing is wrong with the task, and it may be run again.

        Args:
            error: the exception that the task, or its COMMIT, ended with: the driver's, or one
                that was raised from it.
        """

    def give_back(
        self,
        claim: Claim,
        event: Event,
        delay: float = 0.0,
        error: str | None = None,
        *,
        max_deaths: int = MAX_DEATHS,
    ) -> Returned | None:
        """Puts a running job back into the queue.

        A job that is to be cancelled is cancelled instead, and one is superseded when a newer one
        waits under its `unique_waiting`.

        Args:
            claim: on the job.
            event: `RETRIED` after a failure, `OWNER_DIED`, or `GIVEN_BACK`, which counts as
                neither.
            delay: seconds until it may run again.
            error: of the attempt: JSON.
            max_deaths: with so many deaths the job fails instead.

        Returns:
            What happened to it; None when the claim was not valid.
        """

    # Dispatchers

    def hand_over(self, limit: int, max_unclaimed: int) -> list[HandedOver]:
        """Picks jobs that are due, and that no other dispatcher picks, to be handed over now.

        Args:
            limit: of jobs in one call.
            max_unclaimed: jobs of each function that may be at job servers without a worker.

        Returns:
            Them, high priorities first within a function.
        """

    def handed_before(self, seconds: float, limit: int) -> list[HandedOver]:
        """Returns jobs that were handed over, or confirmed, that many seconds ago, and that nobody
        has claimed."""

    def confirm(self, ids: Sequence[str], seconds: float = 0.0) -> None:
        """Notes that job servers still have these jobs.

        Args:
            ids: theirs.
            seconds: from now on, before `handed_before` begins to count.
        """

    def hand_over_again(
        self,
        jobs: Sequence[HandedOver],
        *,
        counts: bool = True,
        max_handovers: int = MAX_HANDOVERS,
        seconds: float = 0.0,
    ) -> HandedAgain:
        """Hands over jobs that job servers do not have any more.

        Args:
            jobs: as they were handed over.
            counts: whether a worker may be to blame. Not after a job server has lost its queue.
            max_handovers: after so many hand-overs without a claim that count, a job fails.
            seconds: from now on, before `handed_before` begins to count.
        """

    def counts(self) -> list[Count]:
        """Counts the open and the failed jobs of each function."""

    def prune(self, state: State, older_than: float, limit: int = 500) -> int:
        """Forgets records that have ended.

        Args:
            state: theirs, which is not open.
            older_than: seconds since they ended.
            limit: of one batch.

        Returns:
            How many there were. If there were as many as the limit, there may be more.
        """

    # Processes

    def register(
        self, *, pool: str = "", runner: str = "", functions: str = "{}", client_id: str = ""
    ) -> Process:
        """Registers this process, which counts as alive from now until its end, and every child
        that is forked from it as another one.

        Args:
            pool: the name of the group of processes that it belongs to.
            runner: the id that the processes of one runner share.
            functions: what it offers: the text of a JSON object.
            client_id: the name by which it is known to job servers.
        """

    def renew(self) -> bool:
        """Takes the lock of this process again where its connection was lost, and registers it
        again where it was taken for dead. Gives a sign of life where there are no locks and its
        dispatcher gives none. Gives back jobs that it claimed without an answer, which nobody
        else can do. To be called every second or two, by a thread of its own while tasks run.

        Returns:
            Whether others see that it is alive.
        """

    def leave(self) -> None:
        """Removes this process. It should have no running jobs."""

    def beat(self, processes: Sequence[str]) -> None:
        """Gives a sign of life for processes whose parent knows that they live. They need one
        every few seconds where there are no locks."""

    def processes(self) -> list[Process]:
        """Returns the processes that are registered, the oldest first."""

    def dead_processes(self) -> list[str]:
        """Returns the ids of processes that are dead, and still have a row or running jobs. To
        be called every second or so: where locks may be lost for a moment, it takes two looks, 5
        seconds apart."""

    def take_back(
        self, process: str, *, counts: bool = True, max_deaths: int = MAX_DEATHS
    ) -> list[Returned]:
        """Takes back the running jobs of a process that is dead, and removes its row.

        Args:
            process: its id.
            counts: whether its jobs may be to blame. Not when it was ordered to end.
            max_deaths: with so many deaths a job fails instead.
        """

    def cancelling(self, processes: Sequence[str]) -> list[Claim]:
        """Returns the jobs that these processes run and have to interrupt."""

    def close(self) -> None:
        """Closes the connection of this process. The next call makes another one."""
