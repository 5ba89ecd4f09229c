"""The log of a runner."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence

from gearmanny.running.companions import Companion
from gearmanny.running.options import RunnerOptions
from gearmanny.running.slots import Slot
from gearmanny.running.workprocess import WorkProcess
from gearmanny.working.jobtable import RunningJob

logger = logging.getLogger("gearmanny.runner")


def started(process: WorkProcess) -> None:
    """Logs that a process was started."""
    extra = {"action": "child_started"}
    logger.info("process %s started with pid %d", process.slot, process.pid, extra=extra)


def not_started(slot: Slot, error: OSError, delay: float) -> None:
    """Logs that a process could not be started, and when another attempt follows."""
    logger.error(
        "process %s cannot be started (%s); trying again in %.1f s",
        slot,
        error,
        delay,
        extra={"action": "child_delayed"},
    )


def rejected(slot: Slot, reason: str) -> None:
    """Logs that the workers of a process cannot be made, though others have served before."""
    extra = {"action": "child_failed"}
    logger.error("the workers of process %s cannot be made: %s", slot, reason, extra=extra)


def delayed(slot: Slot, seconds: float) -> None:
    """Logs that a process is restarted later, because the last one died at once."""
    logger.warning(
        "process %s ended soon after its start; restarting in %.1f s",
        slot,
        seconds,
        extra={"action": "child_delayed"},
    )


def recycling(process: WorkProcess, reason: str) -> None:
    """Logs that a process asked to be replaced."""
    extra = {"action": "recycling"}
    logger.info("%s, is to be recycled: %s", process, reason, extra=extra)


def restarting() -> None:
    """Logs that all processes are to be replaced."""
    extra = {"action": "restarting"}
    logger.info("replacing the processes, one after another", extra=extra)


def late(process: WorkProcess, timeout: float) -> None:
    """Logs that a process leaves without a successor."""
    logger.warning(
        "no replacement of %s, was ready within %g s; it leaves",
        process,
        timeout,
        extra={"action": "replacement_late"},
    )


def stopping(*, at_once: bool) -> None:
    """Logs that everything stops."""
    if at_once:
        logger.warning(
            "ending at once; unfinished jobs go back to their queues", extra={"action": "killing"}
        )
    else:
        logger.info(
            "finishing the current jobs; a second signal ends them at once",
            extra={"action": "stopping"},
        )


def worked_off() -> None:
    """Logs that everything stops because no jobs are left."""
    logger.info("no job is left; stopping", extra={"action": "worked_off"})


def overdue(process: WorkProcess, grace: float | None) -> None:
    """Logs that a process is killed because its grace is over."""
    logger.warning(
        "%s, is busy after %g s of grace; ending it, unfinished jobs go back to their queues",
        process,
        grace,
        extra={"action": "killing"},
    )


def companion_replaced(companion: Companion) -> None:
    """Logs that a process beside the workers has ended, and was started again."""
    extra = {"action": "companion_replaced"}
    logger.error("%s has ended; another one was started", companion, extra=extra)


def companion_not_started(companion: Companion, error: Exception) -> None:
    """Logs that a process beside the workers has ended, and could not be started again."""
    extra = {"action": "companion_failed"}
    logger.error("%s has ended, and cannot be started: %s", companion, error, extra=extra)


def gave_up(slot: Slot, options: RunnerOptions) -> None:
    """Logs that the processes of a slot crashed too often."""
    logger.error(
        "process %s crashed %d times within %g s; giving up, and stopping the others",
        slot,
        options.max_crashes,
        options.crash_window,
        extra={"action": "gave_up"},
    )


def ended(process: WorkProcess, jobs: Sequence[RunningJob], *, unexpected: bool) -> None:
    """Logs that a process has ended, and the jobs that it was running."""
    how = end_of(process)
    if not process.exit_code and unexpected:
        how += ", though its workers had not stopped"
    if jobs:
        how += f", while it ran {', '.join(map(str, jobs))}"
    logger.log(
        logging.ERROR if unexpected else logging.INFO,
        "%s, %s",
        process,
        how,
        extra={
            "action": "child_ended",
            "exit_code": process.exit_code,
            "functions": [job.function for job in jobs],
            "handles": [job.handle for job in jobs],
        },
    )


def stalled(process: WorkProcess, timeout: float | None, *, stalled: bool) -> None:
    """Logs that a process shows no sign of life, or shows one again."""
    if not stalled:
        logger.warning(
            "%s, shows signs of life again", process, extra={"action": "child_recovered"}
        )
        return
    jobs = process.running_jobs
    logger.warning(
        "%s, has shown no sign of life for %g s, %s; it is stopped, or C code holds the "
        "GIL. SIGUSR1 to pid %d logs its stacks",
        process,
        timeout,
        f"while it runs {', '.join(map(str, jobs))}" if jobs else "and runs no job",
        os.getpid(),
        extra={
            "action": "child_stalled",
            "functions": [job.function for job in jobs],
            "handles": [job.handle for job in jobs],
        },
    )


def stacks(process: WorkProcess | str, text: str) -> None:
    """Logs the Python stacks of a process."""
    extra = {"action": "child_stacks"}
    if text:
        logger.warning("the stacks of %s:\n%s", process, text.rstrip(), extra=extra)
    else:
        logger.warning("%s, has written no stacks: it is stopped, or ends", process, extra=extra)


def condemned(job: RunningJob, ends: str) -> None:
    """Logs that a job is not run again."""
    logger.error(
        "%s is failed instead of run again: a process that ran it %s",
        job,
        ends,
        extra={"action": "job_condemned", "function": job.function, "handle": job.handle},
    )


def end_of(process: WorkProcess) -> str:
    """Returns how a process has ended, in words."""
    code = process.exit_code or 0
    return f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
