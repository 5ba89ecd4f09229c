"""The file in which a runner says whether it is healthy, for `gearmanny health`.

Whoever reads it loads this module and nothing else of ours. Its time is that since the start of the
machine: steps of the time of day do not matter, and a file from before a restart is recognized.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

INTERVAL = 1.0
"""Seconds between two writes."""

STALE_AFTER = 10.0
"""Seconds after which nobody can rely on a file: whoever wrote it has ended, or stands still."""

_FORMAT = 1


class Finding(NamedTuple):
    """An answer about a runner."""

    healthy: bool
    text: str
    """One line: how many processes there are, or why it is not healthy."""


def write(path: str, processes: int, not_alive: Sequence[str], not_ready: Sequence[str]) -> None:
    """Writes a file, which replaces the one before as a whole.

    Args:
        path: its path.
        processes: how many there are.
        not_alive: why the runner is not alive; empty if it is.
        not_ready: why it is not ready, though it is alive; empty if it is.

    Raises:
        OSError: that is not possible.
    """
    content = {
        "gearmanny_health": _FORMAT,
        "boot": _boot(),
        "written": time.monotonic(),
        "pid": os.getpid(),
        "processes": processes,
        "not_alive": list(not_alive),
        "not_ready": list(not_ready),
    }
    beside = f"{path}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        with open(os.open(beside, flags, 0o644), "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def remove(path: str) -> None:
    """Removes the file of this process, if nobody else has written it since.

    Args:
        path: its path.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(Path(path).read_bytes())["pid"] == os.getpid():
            os.unlink(path)


def read(path: str, *, ready: bool = False) -> Finding:
    """Reads a file.

    Args:
        path: its path.
        ready: whether the runner has to be ready as well, and not only alive.
    """
    try:
        content = json.loads(Path(path).read_bytes())
        if content["gearmanny_health"] != _FORMAT:
            return Finding(False, f"{path} was written by another version of gearmanny")
        pid, age = content["pid"], time.monotonic() - content["written"]
        if content["boot"] != _boot() or age < 0:
            return Finding(False, f"{path} was written before the machine was started")
        problems = [*content["not_alive"], *(content["not_ready"] if ready else ())]
        processes = content["processes"]
    except FileNotFoundError:
        return Finding(False, f"no runner is here: {path} does not exist")
    except OSError as error:
        return Finding(False, f"{path} cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError):
        return Finding(False, f"{path} was not written by a runner")
    if age > STALE_AFTER:
        return Finding(
            False, f"the runner, pid {pid}, has ended or stands still: {path} is {age:.0f} s old"
        )
    if problems:
        return Finding(False, "; ".join(problems))
    return Finding(True, f"{processes} processes of the runner, pid {pid}")


def _boot() -> str:
    """Returns the id of this run of the machine; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
