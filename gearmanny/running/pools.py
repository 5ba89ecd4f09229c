"""The pools of a runner: groups of workers that have processes of their own, and how many, and
when these are recycled.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import PROCESSES
from gearmanny.payload.fields import option, options_of, same_as
from gearmanny.running.options import RunnerOptions
from gearmanny.working.options import WorkerOptions

DEFAULT = "default"
"""The pool of the workers that no other one names."""

Pools = Mapping[str, Mapping[str, Any]]
"""The options of pools, by name."""


def _check_names(names: object) -> None:
    if isinstance(names, str) or not isinstance(names, Collection):
        raise InvalidOption(f"they must be a list of names, not {names!r}.")
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidOption("name one worker at least, each by its `name`.")


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """The options of a pool. Those that are not given are those of the runner."""

    workers: Sequence[str] = option((), _check_names, "names of the workers that it runs")
    threads: int = option(1, PROCESSES, "processes for every distinct `work_class`", metavar="N")
    prefetch: int | None = same_as(WorkerOptions, "prefetch")
    concurrency: int | None = same_as(WorkerOptions, "concurrency")
    grace: float | None = same_as(RunnerOptions, "grace")
    max_jobs: int | None = same_as(RunnerOptions, "max_jobs")
    max_memory: int | None = same_as(RunnerOptions, "max_memory")
    recycle_after_timeout: bool = same_as(RunnerOptions, "recycle_after_timeout")


@dataclass(frozen=True, eq=False)
class Pool:
    """A pool that is to run."""

    name: str
    workers: tuple[str, ...]
    """The names of its workers."""
    threads: int
    """Processes for every distinct `work_class`."""
    options: RunnerOptions
    """Those of the runner, with its own."""


def check_pools(pools: object) -> Pools:
    """Returns the options of pools.

    Args:
        pools: what was given; None for no pools.

    Raises:
        InvalidOption: it is no dict of dicts, a key or a value is invalid, a worker is named
            twice, or a pool names none.
    """
    if pools is None:
        return {}
    if not isinstance(pools, Mapping):
        raise InvalidOption(f"pools must be a dict, not {type(pools).__name__}.")
    options = options_of(PoolOptions)
    owners: dict[str, str] = {}
    for name, given in pools.items():
        if not isinstance(name, str) or not isinstance(given, Mapping):
            raise InvalidOption(
                f"the pool {name!r} must be a name, with a dict of its options, not {given!r}."
            )
        for key, value in given.items():
            if key not in options:
                raise InvalidOption(
                    f"the pool {name!r} has no option {key!r}. There are {', '.join(options)}."
                )
            options[key].check(f"{key} of the pool {name!r}", value)
        if name == DEFAULT and "workers" in given:
            raise InvalidOption(
                f"the pool {DEFAULT!r} runs all workers that no other one names: leave out its "
                "workers, or give the pool another name."
            )
        if name != DEFAULT and "workers" not in given:
            raise InvalidOption(f"the pool {name!r} names no workers: give it some.")
        for worker in given.get("workers", ()):
            if worker in owners:
                raise InvalidOption(
                    f"the worker {worker!r} is in the pool {owners[worker]!r}, and in {name!r}: "
                    "leave it in one of them."
                )
            owners[worker] = name
    return pools


def pools_of(workers: Sequence[str], pools: Pools) -> dict[str, str]:
    """Returns the pool of each worker.

    Args:
        workers: the names of all workers there are.
        pools: the options of pools, checked.

    Raises:
        InvalidOption: a pool names a worker that is not there.
    """
    owners = {}
    for name, given in pools.items():
        for worker in given.get("workers", ()):
            if worker not in workers:
                raise InvalidOption(
                    f"the pool {name!r} names a worker {worker!r}. There are: "
                    f"{', '.join(sorted(workers))}."
                )
            owners[worker] = name
    return {worker: owners.get(worker, DEFAULT) for worker in workers}


def restricted(pools: Pools, workers: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Returns the options of the pools that run some of their workers.

    Args:
        pools: the options of all pools, checked.
        workers: the names of those that run.
    """
    kept: dict[str, Mapping[str, Any]] = {}
    for name, given in pools.items():
        left = [worker for worker in given.get("workers", ()) if worker in workers]
        if left:
            kept[name] = {**given, "workers": left}
        elif name == DEFAULT:
            kept[name] = given
    return kept


def pools_to_run(
    workers: Sequence[str], pools: Pools, options: RunnerOptions, threads: int
) -> list[Pool]:
    """Returns the pools that have workers, in the order of these.

    Args:
        workers: the names of the workers.
        pools: the options of pools, checked.
        options: those of the runner.
        threads: of pools that do not say how many.

    Raises:
        InvalidOption: a pool names a worker that is not there.
    """
    members: dict[str, list[str]] = {}
    for worker, pool in pools_of(workers, pools).items():
        members.setdefault(pool, []).append(worker)
    return [
        Pool(
            name,
            tuple(names),
            pools.get(name, {}).get("threads", threads),
            _options_of(name, pools.get(name, {}), options),
        )
        for name, names in members.items()
    ]


def _options_of(name: str, given: Mapping[str, Any], options: RunnerOptions) -> RunnerOptions:
    def chosen(kind: type) -> dict[str, Any]:
        return {key: given[key] for key in options_of(kind) if key in given}

    worker = replace(options.worker, pool=name, **chosen(WorkerOptions))
    return replace(options, worker=worker, **chosen(RunnerOptions))
