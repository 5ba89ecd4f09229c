"""The workers that `runworkers` runs, of all that it has found, by pool."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gearmanny.contrib.django.discovery import FoundWorker
from gearmanny.errors import InvalidOption
from gearmanny.payload.fields import options_of
from gearmanny.running.pools import DEFAULT, PoolOptions, Pools, pools_of, restricted
from gearmanny.running.slots import Slot


@dataclass(frozen=True)
class Selection:
    """The workers to run."""

    workers: list[FoundWorker]
    pools: Pools
    """The options of their pools, which name no other workers."""

    def by_pool(self) -> dict[str, list[FoundWorker]]:
        """Returns the workers of each pool."""
        owners = pools_of([found.worker.name for found in self.workers], self.pools)
        members: dict[str, list[FoundWorker]] = {}
        for found in self.workers:
            members.setdefault(owners[found.worker.name], []).append(found)
        return members

    def describe(self, pool: str, slots: Sequence[Slot]) -> str:
        """Returns the processes and the options of a pool in words.

        Args:
            pool: its name.
            slots: the processes of all pools.
        """
        count = sum(slot.options.worker.pool == pool for slot in slots)
        own = [
            f", {key} {value}"
            for key, value in self.pools.get(pool, {}).items()
            if key not in ("workers", "threads")
        ]
        return f"Pool {pool}: {count} process(es){''.join(own)}"


def select(found: Sequence[FoundWorker], pools: Pools, options: Mapping[str, Any]) -> Selection:
    """Returns the workers to run.

    Args:
        found: all that there are.
        pools: the options of all pools, as the settings say.
        options: those of the command line: `names`, `exclude` and `pool` select workers, and what
            is an option of pools overrides that of each of them.

    Raises:
        InvalidOption: a name belongs to no worker or pool, or nothing is left to run.
    """
    names = [getattr(each.worker, "name", "") for each in found]
    owners = pools_of(names, pools)
    wanted = options["names"] or names
    excluded, chosen = _listed(options["exclude"]), _listed(options["pool"])
    _check("worker", [*wanted, *excluded], names)
    _check("pool", chosen, [DEFAULT, *pools])
    left = [
        each
        for each, name in zip(found, names, strict=True)
        if name in wanted and name not in excluded and (not chosen or owners[name] in chosen)
    ]
    if not left:
        raise InvalidOption("No worker is left to run by these names, --pool and --exclude.")
    overridden = {key for key in options_of(PoolOptions) if options.get(key) is not None}
    return Selection(
        left,
        restricted(
            {
                pool: {key: value for key, value in given.items() if key not in overridden}
                for pool, given in pools.items()
            },
            [getattr(each.worker, "name", "") for each in left],
        ),
    )


def _listed(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",")]


def _check(what: str, given: Collection[str], known: Collection[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidOption(
            f"No {what} is named {', '.join(map(repr, unknown))}. "
            f"There are: {', '.join(sorted(filter(None, known)))}."
        )
