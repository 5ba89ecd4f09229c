"""What goes wrong with which version of gearmand: the one table of it.

`docs/reliability.md` shows it, and `gearmanny.admin.JobServer.traps()` tells what of it concerns a
job server.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Version = tuple[int, ...]

_NUMBER = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?")


class Trap(NamedTuple):
    """A habit of some versions of gearmand that takes users by surprise."""

    name: str
    """A short name, for logs and programs."""
    text: str
    """What it does."""
    advice: str
    """What to do, or what gearmanny does."""
    since: Version = ()
    """The first version that has it; empty for all from the first."""
    until: Version | None = None
    """The first version without it; None while there is none."""

    def versions(self) -> str:
        """Returns which versions have it, in words."""
        if self.until is not None:
            return f"before {_written(self.until)}"
        return f"{_written(self.since)} and later" if self.since else "all"


_V1_1_21, _V2_0_0, _V2_1_0 = (1, 1, 21), (2, 0, 0), (2, 1, 0)

TRAPS = (
    Trap(
        "priority_per_function",
        "Priorities count within one function; of the functions of one worker, the one registered "
        "last is served first, and may starve the others.",
        "Start gearmand with `-R`, or give each function workers of its own.",
        until=_V2_0_0,
    ),
    Trap(
        "scheduled_jobs_wake_nobody",
        "A scheduled job that falls due wakes no worker.",
        "Workers of gearmanny ask every 4 s.",
        until=_V2_0_0,
    ),
    Trap(
        "scheduled_jobs_spin",
        "Scheduled jobs that wait hide jobs of low priority, and wake workers without end.",
        "Workers of gearmanny ask ever more slowly.",
        until=_V2_0_0,
    ),
    Trap(
        "can_do_timeout",
        "CAN_DO_TIMEOUT corrupts the queue.",
        "gearmanny does not use it. Give tasks a `timeout` instead.",
        until=_V2_0_0,
    ),
    Trap(
        "keepalive",
        "Workers that vanish are noticed after the two hours of the kernel: the options for "
        "keepalive do not reach their connections.",
        "Set `net.ipv4.tcp_keepalive_time=60` on the machine of gearmand. From 2.0.0 on, start it "
        "with `--keepalive --keepalive-idle 60`.",
        until=_V2_0_0,
    ),
    Trap(
        "work_fail_hangs_libgearman",
        "Programs made with libgearman wait for ever when a worker answers with an exception that "
        "they did not ask for.",
        "Workers of gearmanny fail with a warning and WORK_FAIL by default.",
        until=_V2_0_0,
    ),
    Trap(
        "ssl_ignored",
        "Without TLS built in, as in Debian, `--ssl` is accepted, and everything goes in clear.",
        "Let a proxy do the TLS. gearmanny refuses a server that does not speak it.",
        until=_V2_1_0,
    ),
    Trap(
        "no_retries_is_unlimited",
        "`--job-retries=0`, the default, means that a job is given to worker after worker however "
        "many have died of it. From 2.1.0 on it means never again.",
        "Always pass `--job-retries`, and a number of at least 1.",
        until=_V2_1_0,
    ),
    Trap(
        "stored_on_shutdown",
        "With `--store-queue-on-shutdown`, SQLite keeps nothing before gearmand is stopped.",
        "Do not use it: a crash loses the queue.",
        since=_V1_1_21,
    ),
    Trap(
        "http_obeyed",
        "A request of HTTP is skipped line by line, and packets in its body are obeyed: any web "
        "page that is open on a machine can submit jobs to a gearmand which that machine reaches.",
        "See below.",
    ),
)


def traps_of(version: str) -> list[Trap]:
    """Returns the traps of a job server.

    Args:
        version: what it answers to `version`, `"1.1.20+ds"`. Our own job server has none; of one
            that names no number, all are returned.
    """
    if version.startswith("gearmanny"):
        return []
    found = _NUMBER.match(version)
    if found is None:
        return list(TRAPS)
    number = tuple(int(part or 0) for part in found.groups())
    return [
        trap
        for trap in TRAPS
        if trap.since <= number and (trap.until is None or number < trap.until)
    ]


def _written(version: Version) -> str:
    return ".".join(map(str, version))
