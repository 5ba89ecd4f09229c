"""The log of a dispatcher."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gearmanny.errors import JobServerLost, JobServerUnavailable
from gearmanny.net.hosts import Host
from gearmanny.payload.counts import number_of
from gearmanny.protocol.client import Rejected
from gearmanny.records.scheduling import Tick
from gearmanny.records.values import Count, HandedOver, Process, Returned

logger = logging.getLogger("gearmanny.dispatcher")


def server_away(host: Host, error: Exception) -> None:
    """Logs that a job server cannot be used."""
    reason: object = error
    if isinstance(error, JobServerLost):
        reason = error.reason
    elif isinstance(error, JobServerUnavailable):
        reason = ", ".join(error.failures.values())
    logger.warning("job server %s is away: %s", host, reason, extra={"action": "server_away"})


def server_back(host: Host) -> None:
    """Logs that a job server is there again."""
    logger.warning("job server %s is back", host, extra={"action": "server_back"})


def server_refused(host: Host, job: HandedOver, event: Rejected) -> None:
    """Logs that a job server refuses the jobs of a function."""
    logger.warning(
        "job server %s refuses jobs of %s (%s); they are kept, and tried again",
        host,
        job.function,
        event.code.decode(errors="replace"),
        extra={"action": "server_refused", "function": job.function},
    )


def store_away(error: Exception) -> None:
    """Logs that the store cannot be reached."""
    logger.warning("%s; trying again", error, extra={"action": "store_away"})


def store_back() -> None:
    """Logs that the store answers again."""
    logger.warning("the store answers again", extra={"action": "store_back"})


def failed() -> None:
    """Logs an error that nobody foresaw, with its traceback."""
    extra = {"action": "dispatch_failed"}
    logger.exception("the dispatcher met an error; trying again", extra=extra)


def ticked(tick: Tick) -> None:
    """Logs that a schedule has ticked."""
    at = tick.at.isoformat(timespec="seconds")
    if tick.is_skipped:
        logger.warning(
            "the tick of the schedule %s at %s is skipped: the job of an earlier one is not over",
            *(tick.name, at),
            extra={"action": "tick_skipped", "schedule": tick.name},
        )
    elif tick.jobs:
        logger.info(
            "the schedule %s ticked at %s",
            *(tick.name, at),
            extra={"action": "schedule_ticked", "schedule": tick.name, "ids": tick.jobs},
        )
    if tick.dropped:
        logger.warning(
            "the schedule %s has ticks without a job, up to %s: they came too late",
            *(tick.name, at),
            extra={"action": "ticks_dropped", "schedule": tick.name},
        )


def unreadable(schedule: str, reason: str) -> None:
    """Logs that a schedule does not tick."""
    extra = {"action": "schedule_unreadable", "schedule": schedule}
    logger.error("the schedule %s does not tick: %s", schedule, reason, extra=extra)


def handed_over(jobs: Sequence[HandedOver]) -> None:
    """Logs that jobs were handed over."""
    extra = {"action": "jobs_handed_over"}
    logger.debug("handed over what was due: %s", number_of(len(jobs), "job"), extra=extra)


def lost(jobs: Sequence[HandedOver]) -> None:
    """Logs that jobs got lost, and are handed over again."""
    names = ", ".join(sorted({job.function for job in jobs}))
    logger.warning(
        "lost on the way to a worker, and handed over again: %s of %s",
        number_of(len(jobs), "job"),
        names,
        extra={"action": "jobs_lost", "ids": [job.id for job in jobs]},
    )


def never_claimed(job: HandedOver) -> None:
    """Logs that a job has failed because no worker claimed it."""
    logger.error(
        "%s (record %s) has failed: it was handed over %d times, and no worker claimed it. Do the "
        "workers have this store?",
        job.function,
        job.id,
        job.number,
        extra={"action": "job_never_claimed", "function": job.function, "id": job.id},
    )


def taken_back(process: Process | str, jobs: Sequence[Returned]) -> None:
    """Logs that a process has died, and what became of its jobs."""
    name = process if isinstance(process, str) else f"{process.id}, pid {process.pid}"
    back = [job for job in jobs if not job.is_poisoned]
    if back:
        names = ", ".join(sorted({job.function for job in back}))
        logger.warning(
            "process %s is dead; it gives back %s of %s",
            name,
            number_of(len(back), "job"),
            names,
            extra={"action": "jobs_taken_back", "ids": [job.id for job in back]},
        )
    for job in jobs:
        if job.is_poisoned:
            logger.error(
                "%s (record %s) has failed: process %s was the last of those that died of it",
                job.function,
                job.id,
                name,
                extra={"action": "job_poisoned", "function": job.function, "id": job.id},
            )


def counted(counts: Sequence[Count]) -> None:
    """Logs how many jobs there are, unless there are none."""
    if any(count.waiting or count.running or count.failed for count in counts):
        logger.info(
            "recorded jobs: %d wait, %d are scheduled, %d run, %d have failed; the oldest has "
            "waited for %.0f s",
            sum(count.waiting for count in counts),
            sum(count.scheduled for count in counts),
            sum(count.running for count in counts),
            sum(count.failed for count in counts),
            max(count.oldest for count in counts),
            extra={"action": "jobs_counted"},
        )


def pruned(count: int) -> None:
    """Logs that old records were forgotten."""
    extra = {"action": "records_pruned"}
    logger.debug("forgot %s", number_of(count, "old record"), extra=extra)
