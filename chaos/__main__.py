"""All of them, one after another: `make chaos`."""

from __future__ import annotations

import sys

from chaos import (
    addresses,
    durability,
    durable,
    helpers,
    interrupts,
    limits,
    memory,
    neighbours,
    network,
    poison,
    restarts,
    schedules,
)

_RUNS = (
    network,
    neighbours,
    interrupts,
    addresses,
    restarts,
    helpers,
    limits,
    memory,
    poison,
    durability,
    durable,
    schedules,
)

if __name__ == "__main__":
    failed = [run.__name__ for run in _RUNS if not run.main()]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
