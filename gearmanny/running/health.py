"""Keeps the file up to date in which a runner says whether it is healthy."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable

from gearmanny.errors import InvalidOption
from gearmanny.running import healthfile
from gearmanny.running.diagnosis import Diagnosis, Examined
from gearmanny.running.options import RunnerOptions
from gearmanny.running.orders import Member
from gearmanny.running.slots import Slot
from gearmanny.running.workprocess import WorkProcess

logger = logging.getLogger("gearmanny.runner")


class Health:
    """The health of a runner, which it writes down every second, if it has a file for that."""

    def __init__(self, options: RunnerOptions) -> None:
        """
        Args:
            options: those of the runner.

        Raises:
            InvalidOption: its file cannot be written.
        """
        self._path = None if options.health_file is None else str(options.health_file)
        timeout = options.pulse_timeout or math.inf
        self._diagnosis = Diagnosis[WorkProcess](timeout)
        self._interval = min(healthfile.INTERVAL, timeout / 4)
        self.due = math.inf if self._path is None else -math.inf
        """When to look again, by `time.monotonic`."""
        self._fails = False
        if self._path is not None:
            try:
                healthfile.write(self._path, 0, (), ["it is starting"])
            except OSError as error:
                raise InvalidOption(f"health_file cannot be written: {error}") from error

    def look(
        self, slots: Iterable[Slot], processes: Iterable[tuple[Member[Slot], WorkProcess]]
    ) -> None:
        """Writes down how the processes are, if it is time for that.

        Args:
            slots: what is to run; nothing when the runner stops.
            processes: the processes.
        """
        now = time.monotonic()
        if self._path is None or now < self.due:
            return
        self.due = now + self._interval
        examined = [
            Examined(process, member.slot, member.stage, process.vitals, process.runs_jobs)
            for member, process in processes
        ]
        report = self._diagnosis.look(slots, examined, now)
        try:
            healthfile.write(self._path, *report)
        except OSError as error:
            if not self._fails:
                logger.warning(
                    "the health file cannot be written, so this runner will be taken for dead: %s",
                    error,
                    extra={"action": "health_unwritten"},
                )
            self._fails = True
        else:
            self._fails = False

    def close(self) -> None:
        """Removes the file."""
        if self._path is not None:
            healthfile.remove(self._path)
