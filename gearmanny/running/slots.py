"""The places for the processes of a runner: what each of them runs, and by which options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gearmanny.payload.checks import PROCESSES
from gearmanny.running.factory import work_class_of
from gearmanny.running.options import RunnerOptions
from gearmanny.running.pools import Pool, Pools, pools_to_run
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.worker import BaseWorker
from gearmanny.working.schedules import check_schedules


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one child: what it runs, and its number among the children that run the same."""

    workers: tuple[type[BaseWorker], ...]
    number: int
    options: RunnerOptions = field(compare=False)
    """Those of its pool."""

    def __str__(self) -> str:
        return f"{'+'.join(worker.name for worker in self.workers)}-{self.number}"


def slots_of(
    workers: Sequence[type[BaseWorker]], pools: Pools, options: RunnerOptions, threads: int
) -> list[Slot]:
    """Returns the places of all pools that have workers.

    Args:
        workers: the worker classes.
        pools: the options of pools, checked.
        options: those of the runner.
        threads: processes for every distinct `work_class`, in pools that do not say how many.

    Raises:
        InvalidOption: `threads` is not a number of processes, or a pool names a worker that is not
            there.
        InvalidTask: the arguments of a schedule cannot be encoded.
    """
    PROCESSES.check("threads", threads)
    named = {worker.name: worker for worker in workers}
    groups: dict[tuple[Pool, type[GearmanWorker]], list[type[BaseWorker]]] = {}
    for pool in pools_to_run(list(named), pools, options, threads):
        for worker in map(named.__getitem__, pool.workers):
            work_class = work_class_of(worker, options.worker)
            check_schedules(worker, work_class)
            groups.setdefault((pool, work_class), []).append(worker)
    return [
        Slot(tuple(workers), number, pool.options)
        for (pool, _), workers in groups.items()
        for number in range(1, pool.threads + 1)
    ]
