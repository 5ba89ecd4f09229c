"""All of them, one after another: `make chaos`."""

from __future__ import annotations

import sys

from chaos import addresses, durability, interrupts, neighbours, network, restarts

RUNS = (network, neighbours, interrupts, addresses, restarts, durability)

if __name__ == "__main__":
    sys.exit(not all([run.main() for run in RUNS]))
