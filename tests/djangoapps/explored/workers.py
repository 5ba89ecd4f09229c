"""Workers with something to see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from gearmanny.worker import BaseWorker, task


class Shop(BaseWorker):
    name = "shop"

    def task_ship(self, parcel: str, weight: float = 1.0, insured: bool = False) -> dict[str, Any]:
        """Ships a parcel <b>today</b>."""
        return {"parcel": parcel, "weight": weight, "insured": insured, "number": 2**80}

    def task_refuse(self, text: str) -> None:
        """Fails."""
        raise ValueError(text)

    def task_step(self, gate: str) -> Iterator[str]:
        """Reports its progress and a row, and goes on when a file is there."""
        self.progress(1, 2)
        yield "<i>first</i>"
        while not Path(gate).exists():
            time.sleep(0.01)
        self.progress(2, 2)
        yield "second"

    def task_wait(self, gate: str) -> str:
        """Waits for a file."""
        self.progress(1, 3)
        while not Path(gate).exists():
            time.sleep(0.01)
        return "it came"

    @task(every=timedelta(hours=1))
    def task_count(self) -> int:
        """Counts."""
        return 1
