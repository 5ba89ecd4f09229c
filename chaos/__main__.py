"""All of them, one after another: `make chaos`."""

from __future__ import annotations

import sys

from chaos import durability, neighbours, network, restarts

if __name__ == "__main__":
    sys.exit(not all([network.main(), neighbours.main(), restarts.main(), durability.main()]))
