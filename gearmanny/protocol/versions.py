"""The known defects and surprises of gearmand, by version.

`docs/reliability.md` shows the table; `gearmanny.admin.JobServer.traps()` returns the rows that
concern a job server, `gearmanny status` prints them, and the log of clients and workers names them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import NamedTuple

from gearmanny.errors import printable
from gearmanny.protocol.admin import AdminConnection

Version = tuple[int, ...]

_NUMBER = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?")


class Trap(NamedTuple):
    """A defect of some versions of gearmand, or a behaviour that surprises users."""

    name: str
    """A short name, for logs and programs."""
    text: str
    """A description."""
    advice: str
    """The advice to users, and what gearmanny does about it."""
    since: Version = ()
    """The first version that has it; empty if all older versions have it."""
    until: Version | None = None
    """The first version without it; None if there is none yet."""

    def versions(self) -> str:
        """Returns the versions that have it, in words."""
        if self.until is not None:
            return f"before {_written(self.until)}"
        return f"{_written(self.since)} and later" if self.since else "all"


_V1_1_21, _V2_0_0, _V2_1_0 = (1, 1, 21), (2, 0, 0), (2, 1, 0)

TRAPS = (
    Trap(
        "priority_per_function",
        "Priorities apply within one function. Of the functions of a worker, the one registered "
        "last is served first, and can starve the others.",
        "Start gearmand with `-R`, or give each function workers of its own.",
        until=_V2_0_0,
    ),
    Trap(
        "scheduled_jobs_wake_nobody",
        "A scheduled job that falls due wakes no worker.",
        "Workers of gearmanny ask for jobs every 4 s.",
        until=_V2_0_0,
    ),
    Trap(
        "scheduled_jobs_spin",
        "Waiting scheduled jobs hide jobs with low priority, and wake workers again and again.",
        "Workers of gearmanny ask at growing intervals.",
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
        "Workers that vanish are detected only after the kernel's default of two hours: the "
        "keepalive options do not reach their connections.",
        "Set `net.ipv4.tcp_keepalive_time=60` on the machine of gearmand. Start 2.0.0 and later "
        "with `--keepalive --keepalive-idle 60`.",
        until=_V2_0_0,
    ),
    Trap(
        "work_fail_hangs_libgearman",
        "Programs based on libgearman wait forever if a worker answers with an exception that they "
        "did not request.",
        "By default, workers of gearmanny report failures with a warning and WORK_FAIL.",
        until=_V2_0_0,
    ),
    Trap(
        "ssl_ignored",
        "If built without TLS, as in Debian, it accepts `--ssl` and sends everything unencrypted.",
        "Let a proxy provide TLS. With `tls`, gearmanny refuses a server without it.",
        until=_V2_1_0,
    ),
    Trap(
        "no_retries_is_unlimited",
        "`--job-retries=0`, the default, means that a job is given to one worker after another, "
        "however many it has killed. From 2.1.0 on, it means that no job is repeated.",
        "Always pass `--job-retries` with a number of 1 or more.",
        until=_V2_1_0,
    ),
    Trap(
        "stored_on_shutdown",
        "With `--store-queue-on-shutdown`, SQLite stores nothing until gearmand is stopped.",
        "Do not use it: a crash loses the queue.",
        since=_V1_1_21,
    ),
    Trap(
        "http_obeyed",
        "HTTP requests are skipped line by line, and packets in their bodies are obeyed: any web "
        "page that is open on a machine can submit jobs to a gearmand that the machine can reach.",
        'Run gearmand where no browser can reach it. See "Web pages" in docs/reliability.md.',
    ),
)


def traps_of(version: str) -> list[Trap]:
    """Returns the traps of a job server.

    Args:
        version: its version, such as `"1.1.20+ds"`. gearmanny's own job server has no traps; for a
            version without a number, all are returned.
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


class VersionQuestion(NamedTuple):
    """The question for the version of a job server, for the log. See `net.once.ask_once`."""

    command: str
    question: bytes
    receive: Callable[[bytes], str | None]
    then: Callable[[str], None]


def version_question(host: str, logger: logging.Logger) -> VersionQuestion:
    """Returns the question whose answer is logged if that version has traps.

    It is logged at INFO: each trap concerns certain options or uses of gearmand, and gearmanny
    avoids what it can.

    Args:
        host: the job server, for the log.
        logger: writes the line.
    """

    def log(version: str) -> None:
        names = [trap.name for trap in traps_of(version)]
        if names:
            logger.info(
                "the job server %s is gearmand %s, which has known traps: %s. "
                "`gearmanny status %s` tells what to do",
                host,
                printable(version),
                ", ".join(names),
                host,
                extra={"action": "server_traps"},
            )

    machine = AdminConnection()
    return VersionQuestion("version", machine.command("version"), machine.receive_line, log)


def _written(version: Version) -> str:
    return ".".join(map(str, version))
