"""The jobs that a process runs, as it writes them down for its parent, and what its parent has
decided about jobs that killed other processes."""

from __future__ import annotations

from itertools import chain

from gearmanny.errors import WorkerLost
from gearmanny.protocol.worker import Assigned
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.condemned import CondemnedJobs
from gearmanny.working.jobtable import JobTable
from gearmanny.working.link import Link


class Ledger:
    """The ledger of a worker without a parent: nobody reads it, and nothing is written."""

    def begin(self, link: Link, assigned: Assigned, job: GearmanJob) -> None:
        """Notes that a job is about to run.

        Args:
            link: the connection that it came by.
            assigned: the job, as it arrived.
            job: the job, as it is run.
        """

    def must_run_alone(self, job: GearmanJob) -> bool:
        """Returns whether a job that has begun must not run beside others: it was running when a
        process died that ran several.

        Args:
            job: the job.

        Raises:
            WorkerLost: it has killed too many processes, and must not run at all.
        """
        return False

    def answered(self, link: Link, job: GearmanJob) -> None:
        """Notes that a job is answered, or was given back. It is named until `sent` is called.

        Args:
            link: the connection that it came by.
            job: the job.
        """

    def sent(self, link: Link) -> None:
        """Notes that the answers of a connection have left the process, unless it has ended.

        Args:
            link: the connection.
        """

    def lost(self, link: Link) -> None:
        """Notes that a connection has ended, and that the process goes on.

        Args:
            link: the connection.
        """

    def failed(self) -> None:
        """Notes that a job was answered with a failure."""

    def blame(self, job: GearmanJob) -> None:
        """Notes that the process is about to end because of one job, and of no other.

        Args:
            job: the job.
        """


class SharedLedger(Ledger):
    """The ledger of a process, in memory that it shares with its parent."""

    def __init__(self, table: JobTable, condemned: CondemnedJobs) -> None:
        """
        Args:
            table: where the jobs of this process are named.
            condemned: the jobs that are not to be run as others are.
        """
        self._table = table
        self._condemned = condemned
        self._rows: dict[int, int | None] = {}
        """By `id()` of the job."""
        self._answered: dict[Link, list[int | None]] = {}

    def begin(self, link: Link, assigned: Assigned, job: GearmanJob) -> None:
        self._rows[id(job)] = self._table.begin(
            link.host_name, assigned.function, assigned.handle, assigned.unique
        )

    def must_run_alone(self, job: GearmanJob) -> bool:
        if not self._condemned:
            return False
        row = self._rows.get(id(job))
        # As the parent reads it, who may have read less than the whole name.
        verdict = None if row is None else self._condemned.verdict(self._table.read(row))
        if verdict:
            raise WorkerLost(str(job.task), verdict)
        return verdict is not None

    def answered(self, link: Link, job: GearmanJob) -> None:
        self._answered.setdefault(link, []).append(self._rows.pop(id(job), None))

    def sent(self, link: Link) -> None:
        # A task that closes all files ends the connection, and soon the process.
        if not (link.closed or link.full):
            self.lost(link)

    def lost(self, link: Link) -> None:
        for row in self._answered.pop(link, ()):
            self._table.end(row)

    def failed(self) -> None:
        self._table.note_failure()

    def blame(self, job: GearmanJob) -> None:
        guilty = self._rows.get(id(job))
        for row in chain(list(self._rows.values()), *list(self._answered.values())):
            if row != guilty:
                self._table.end(row)
