"""The options of workers, from settings or arguments to the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypedDict

from gearmanny.errors import InvalidOption
from gearmanny.net.hosts import Host
from gearmanny.net.tls import TLS
from gearmanny.payload.checks import COUNT, FLAG, JOBS, SWITCH
from gearmanny.payload.fields import check_options, option
from gearmanny.payload.masking import MASK, check_mask
from gearmanny.payload.sizes import MAX_PACKET, PACKET_SIZE
from gearmanny.records.contract import MAX_DEATHS, Store
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.working.hooks import Hook, SyncToAsync
from gearmanny.working.jobevents import JobListener

Transaction = Callable[[], AbstractContextManager[Any]]
"""Returns the transaction in which an atomic task runs: it yields the connection of the driver,
commits at its end, and rolls back after an exception."""


class Privacy(TypedDict, total=False):
    """The options of what is kept of jobs, shown of them, and reported. `WorkerOptions` has their
    defaults, `WorkRunner` describes them."""

    max_result: int | None
    forget_arguments: bool
    mask: Sequence[str]
    listener: JobListener | None


class Recording(Privacy, total=False):
    """The same, and the transaction of atomic tasks."""

    transaction: Transaction | None


class Capacity(Protocol):
    """A worker, as far as it says how many jobs it takes at a time."""

    prefetch: int
    concurrency: int


def check_work_class(name: str, work_class: object) -> None:
    """Checks the class of the `GearmanWorker` that does the work of a worker.

    Args:
        name: the option, as messages call it.
        work_class: the class.

    Raises:
        InvalidOption: it is no such class.
    """
    if not isinstance(work_class, type) or not issubclass(work_class, GearmanWorker):
        raise InvalidOption(
            f"{name} must be a subclass of gearman.GearmanWorker, such as JsonWorker, not "
            f"{work_class!r}."
        )


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """The options of the workers of one process, which share one loop.

    `WorkRunner` describes them for users.

    Raises:
        InvalidOption: a value is not allowed.
    """

    hosts: Sequence[Host] = ()
    """The job servers. Empty: those of the `GearmanWorker`, or the default."""
    verbosity: int = 0
    hooks: tuple[Hook, ...] = ()
    """Contexts around every job, outside of those of the worker."""
    sync_to_async: SyncToAsync | None = None
    """Overrides that of the worker, unless None."""
    send_tracebacks: bool | None = None
    """Overrides that of the worker, unless None."""
    default_work_class: type[GearmanWorker] | None = None
    """Replaces `JsonWorker`, for workers that chose no other; None: nothing does."""
    prefetch: int | None = option(
        None,
        JOBS,
        "jobs a process holds at a time",
        none="as the workers say",
        metavar="N",
    )
    concurrency: int | None = option(
        None,
        JOBS,
        "`async def` tasks a process runs at a time",
        none="as the workers say",
        metavar="N",
    )
    max_packet: int = option(
        MAX_PACKET, PACKET_SIZE, "bytes of the longest packet, of clients and workers"
    )
    tls: TLS | None = option(
        None, TLS.of, "how the job servers are secured", none="plain connections"
    )
    records: Store | None = None
    """The store of the jobs that have a record."""
    runner: str = ""
    """The id that the processes of one runner share in that store."""
    pool: str = ""
    """The name of the pool of the processes, in that store."""
    max_deaths: int | None = MAX_DEATHS
    """How many processes a job with a record may kill; None for any number."""
    max_result: int | None = option(
        16 * 1024 * 1024,
        COUNT,
        "bytes of the largest result in a record; a job with a larger one fails",
        none="any size",
    )
    forget_arguments: bool = option(
        False, SWITCH, "empty the arguments in the record of a job that has succeeded"
    )
    mask: Sequence[str] = option(
        MASK, check_mask, "names whose values are masked in logs and on pages"
    )
    transaction: Transaction | None = None
    """Makes the transaction of atomic tasks; None: there must not be any."""
    listener: JobListener | None = None
    """Is notified of every job."""

    def __post_init__(self) -> None:
        check_options(self)
        FLAG.check("send_tracebacks", self.send_tracebacks, optional=True)
        if self.default_work_class is not None:
            check_work_class("default_work_class", self.default_work_class)
        if self.records is not None and not hasattr(self.records, "take_over"):
            kind = type(self.records).__name__  # not the value: a URL may contain a password
            raise InvalidOption(
                f'records must be a store, such as SQLStore("sqlite:///jobs.db"), not a {kind}.'
            )

    def settled(self, workers: Iterable[Capacity]) -> WorkerOptions:
        """Returns these options, with numbers where they leave them to the workers.

        Args:
            workers: all that share the loop.

        Raises:
            InvalidOption: a number that a worker says is not allowed.
        """
        workers = list(workers)
        for worker in workers:
            JOBS.check("prefetch", worker.prefetch)
            JOBS.check("concurrency", worker.concurrency)
        return replace(
            self,
            prefetch=self.prefetch or min(worker.prefetch for worker in workers),
            concurrency=self.concurrency or max(worker.concurrency for worker in workers),
        )

    @property
    def capacity(self) -> int:
        """How many jobs the loop asks for or holds at a time."""
        return max(self.prefetch or 1, self.concurrency or 1)
